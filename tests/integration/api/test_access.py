"""The paths that each key opens, the parts of every answer, and the console's files."""

from __future__ import annotations

import re

import redis

from services.api.components import Components
from services.api.resources.console import INDEX
from shared.build import ROOT
from shared.jobs import keys
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, JSON, METRICS_TOKEN, InProcess

JOB = "/v1/jobs/" + "0" * 32
FOR_JOBS = [
    *("/v1/jobs", JOB, f"{JOB}/result", f"{JOB}/summary", f"{JOB}/plots/bar", "/v1/appliance"),
    *("/v1/models", "/v1/models/wine", "/v1/models/wine/examples"),
]
FOR_POSTS = ("/v1/jobs", "/v1/explain")
RECYCLE = "/v1/workers/recycle"
NO_KEYS = ("", "Bearer", "Bearer ", "Basic YTpi", API_KEY, f"Bearer {API_KEY}x", "Bearer \xe9")

CONSOLE = ROOT / "services" / "api" / "console"
#: Names of other hosts, elements made of text, and places that keep a key.
FORBIDDEN = re.compile(
    r"https?://(?!www\.w3\.org/)|[\"'(]//\w|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    r"|localStorage|sessionStorage|document\.cookie|indexedDB"
)


def test_without_a_valid_key_nothing_is_open(client: InProcess) -> None:
    calls = [("GET", path) for path in (*FOR_JOBS, "/metrics", "/v1/workers")]
    calls += [("POST", path) for path in (*FOR_POSTS, RECYCLE)]
    for method, path in calls:
        for authorization in ("Bearer wrong", None):
            headers = {"Content-Type": JSON, **({"Authorization": authorization} if authorization else {})}
            reply = client.call(method, path, headers=headers, key=None)
            assert reply.refusal == (401, "unauthorized"), path
            assert reply.headers["www-authenticate"].startswith("Bearer")
    for authorization in NO_KEYS:
        assert client.get("/v1/jobs", key=None, Authorization=authorization).status == 401, authorization


def test_a_key_opens_only_what_it_is_for(client: InProcess, connection: redis.Redis) -> None:
    for path in FOR_JOBS:
        assert client.get(path, key=METRICS_TOKEN).refusal == (403, "forbidden")
        assert {client.get(path, key=key).status for key in (API_KEY, ADMIN_API_KEY)} <= {200, 404}
    assert client.get("/metrics", key=API_KEY).slug == "forbidden"
    for key in (METRICS_TOKEN, ADMIN_API_KEY):
        assert client.get("/metrics", key=key).slug == "monitor-away"
    for key in (API_KEY, METRICS_TOKEN):  # workers are an admin's alone
        assert client.get("/v1/workers", key=key).status == 403
        assert client.call("POST", RECYCLE, key=key).status == 403
    assert not connection.exists(keys.RECYCLE)
    for path in FOR_POSTS:
        assert client.call("POST", path, b"{}", {"Content-Type": JSON}, METRICS_TOKEN).status == 403
    for path in ("/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/"):
        assert client.get(path, key=None).status == 200


def test_request_ids_unknown_addresses_and_caching(client: InProcess) -> None:
    assert client.get("/version", X_Request_Id="my-request_1.2").headers["x-request-id"] == "my-request_1.2"
    for bad in ("a b", "x" * 65, "<script>", ""):
        assert client.get("/nowhere", X_Request_Id=bad).headers["x-request-id"] != bad
    assert client.get("/v2/jobs").slug == "not-found"
    reply = client.call("PUT", "/v1/jobs")
    assert reply.refusal == (405, "method-not-allowed")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    for key in (API_KEY, None):
        assert client.get("/v1/jobs", key=key).headers["cache-control"] == "no-store"


def test_only_the_consoles_files_are_open_and_name_no_host(client: InProcess, components: Components) -> None:
    files = sorted(CONSOLE.iterdir())
    assert len(files) > 3
    for path in files:
        reply = client.get(f"/console/{path.name}", key=None)
        assert (reply.status, reply.body) == (200, path.read_bytes())
        assert not FORBIDDEN.search(reply.body.decode()), path
    for name in ("nothing.js", "__init__.py", "INDEX.HTML", "%00", "..%2Fapp.py"):
        assert client.get(f"/console/{name}", key=None).status == 404
    components.counters.flush()
    routes = {key[2] for key in components.counters.read() if key[0] == "http_requests_total"}
    assert routes == {"/console/{file}", "unmatched"}


def test_the_page_speaks_to_nobody_else_and_is_sent_again_only_when_it_changed(client: InProcess) -> None:
    reply = client.get("/", key=None)
    assert (reply.status, reply.body) == (200, (CONSOLE / INDEX).read_bytes())
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    wanted = {
        "content-type": "text/html; charset=utf-8",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    assert wanted.items() <= reply.headers.items()
    tag = reply.headers["etag"]
    again = client.get("/", key=None, If_None_Match=f'"x", {tag}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/", key=None, If_None_Match='"x"').status == 200
