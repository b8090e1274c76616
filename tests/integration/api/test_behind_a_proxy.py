"""The api under a path: a proxy may strip it or not, and links begin with it either way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from services.api.components import Components
from shared.setting_values import Networks
from shared.settings import PRIVATE_NETWORKS
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, JSON, METRICS_TOKEN, Reply
from tests.integration.api.served import ASK, Connection, Serve, Served, Working
from tests.integration.conftest import Logged

BODY = json.dumps({"model": "diabetes", "rows": [[1.0] * 10]}).encode()
TOLD = {
    "X-Forwarded-Prefix": "/shap",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "example.com",
    "X-Forwarded-For": "10.1.1.1, 198.51.100.7",
}


class Proxy:
    """Passes requests to the api as a proxy at /shap does."""

    def __init__(self, served: Served, told: Mapping[str, str], before: str) -> None:
        self._served = served
        self._told = told
        self._before = before

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Make a call as its client would, with a path below /shap."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {API_KEY}", "Content-Type": JSON, **self._told, **named}
        return self._served.http.send(method, self._before + path.removeprefix("/shap"), body, sent)


@pytest.fixture(params=["setting, left", "setting, stripped", "header, left", "header, stripped"])
def proxy(serve: Serve, request: pytest.FixtureRequest) -> Proxy:
    by, way = request.param.split(", ")
    served = serve(url_prefix="/shap" if by == "setting" else "")
    return Proxy(served, TOLD if by == "header" else {}, "/shap" if way == "left" else "")


def test_links_lead_through_the_proxy_and_bodies_are_read(proxy: Proxy, components: Components) -> None:
    accepted = [proxy.call("POST", "/shap/v1/jobs", BODY) for _ in range(2)]
    document = accepted[0].json
    assert accepted[0].headers["location"] == document["links"]["self"] == f"/shap/v1/jobs/{document['id']}"
    assert proxy.call("GET", document["links"]["self"]).json == document
    listed = proxy.call("GET", "/shap/v1/jobs?limit=1").json
    assert listed["next"].startswith("/shap/v1/jobs?limit=1&cursor=")
    assert [job["links"] for job in proxy.call("GET", listed["next"]).json["jobs"]] == [document["links"]]
    assert (
        proxy.call("POST", "/shap/v1/explain?wait=0", BODY).headers["location"].startswith("/shap/v1/jobs/")
    )
    components.store.cancel(document["id"])
    refused = proxy.call("GET", document["links"]["result"])
    assert (refused.slug, refused.json["job"]["links"]) == ("job-cancelled", document["links"])
    assert "/shap/docs lists" in proxy.call("GET", "/shap/nowhere").detail
    assert proxy.call("POST", "/shap/v1/jobs", BODY, Authorization="Bearer x").status == 401


def test_the_pages_and_the_document_lead_through_the_proxy(proxy: Proxy) -> None:
    page = proxy.call("GET", "/shap/")
    references = re.findall(r'(?:src|href)="([^"#]+)"', page.body.decode())
    assert len(references) > 5
    for reference in references:
        assert proxy.call("GET", f"/shap/{reference}").status == 200
    docs = proxy.call("GET", "/shap/docs").body.decode()
    assert re.findall(r'href="([^"#]+)"', docs) == ["data:,", "openapi.json"]
    servers = [server["url"] for server in proxy.call("GET", "/shap/openapi.json").json["servers"]]
    assert servers == ["https://example.com/shap" if proxy._told else "/shap"]


def test_the_prefix_alone_leads_to_the_page_and_probes_work_without_it(serve: Serve) -> None:
    http = serve(url_prefix="/shap").http
    for method in ("GET", "HEAD"):
        answer = http.send(method, "/shap", b"", {})
        assert (answer.status, answer.headers["location"], answer.body) == (308, "/shap/", b"")
    assert http.send("GET", "/shapes", b"", {}).status == 404
    for path in ("/healthz", "/readyz", "/version"):
        assert http.get(path, key=None).status == http.send("GET", f"/shap{path}", b"", {}).status == 200
    assert http.get("/metrics", key=METRICS_TOKEN).slug == "monitor-away"


def test_health_checks_under_the_prefix_are_answered_when_all_connections_are_at_work(serve: Serve) -> None:
    serve.limits(1, reserved=2, remote=True)
    working = Working()
    served = serve(working, url_prefix="/shap")
    served.connect().sendall(ASK.replace(b"/echo", b"/shap/long"))
    served.wait_until(1, lambda one: one.requests)
    with Connection(served.port) as checking:
        assert checking.status(ASK.replace(b"/echo", b"/shap/healthz")) == 200
    working.go_on.set()


@pytest.mark.parametrize(
    ("trusted", "told"),
    [
        ((), TOLD),
        (
            PRIVATE_NETWORKS,
            {"X-Forwarded-Prefix": "//evil", "X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "e/vil"},
        ),
        (PRIVATE_NETWORKS, {"X-Forwarded-Prefix": '/"><script>', "X-Forwarded-Proto": "https;evil"}),
        (PRIVATE_NETWORKS, {"X_Forwarded_Prefix": "/evil", "X-Forwarded-Prefix": "/" + "a" * 20_000}),
    ],
)
def test_headers_of_others_and_values_that_are_not_valid_change_nothing(
    serve: Serve, trusted: Networks, told: dict[str, str]
) -> None:
    http = serve(trusted_proxies=trusted).http
    for path in ("/", "/docs", "/openapi.json", "/nowhere"):
        plain, given = (http.send("GET", path, b"", headers) for headers in ({}, told))
        for one in (plain, given):
            del one.headers["date"], one.headers["x-request-id"]
        assert _without_id(given) == _without_id(plain)
    assert http.post("/v1/jobs", BODY, JSON, **told).headers["location"].startswith("/v1/jobs/")


def _without_id(reply: Reply) -> tuple[int, dict[str, str], Any]:
    return reply.status, reply.headers, re.sub(rb'"request_id":"\w+"', b"", reply.body)


def test_the_access_log_names_the_client_beyond_the_proxy_and_the_key(serve: Serve, logged: Logged) -> None:
    http = serve().http
    keys = {
        "API_KEY": API_KEY,
        "ADMIN_API_KEY": ADMIN_API_KEY,
        "METRICS_TOKEN": METRICS_TOKEN,
        "invalid": "x",
    }
    for name, key in keys.items():
        http.send("GET", "/version", b"", {"Authorization": f"Bearer {key}", "X-Request-Id": name, **TOLD})
    refused = {"Authorization": f"Bearer {METRICS_TOKEN}", "Content-Type": JSON, "X-Request-Id": "refused"}
    assert http.send("POST", "/v1/jobs", BODY, refused).status == 403
    serve(trusted_proxies=()).http.send("GET", "/version", b"", {"X-Request-Id": "direct", **TOLD})
    for name in keys:
        assert logged(f"GET /version 200 request={name} client=198.51.100.7 key={name} ")
    assert logged("POST /v1/jobs 403 request=refused client=127.0.0.1 key=METRICS_TOKEN ")
    assert logged("request=direct client=127.0.0.1 key=none ")
    assert not [line for key in (API_KEY, ADMIN_API_KEY, METRICS_TOKEN) for line in logged(key)]
