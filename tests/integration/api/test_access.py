"""The paths that each key opens, and the parts that every answer has."""

from __future__ import annotations

import pytest
import redis

from services.api.components import Components
from shared.appliance.status import ApplianceStatus
from shared.jobs import keys
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, METRICS_TOKEN, InProcess

JOB = "/v1/jobs/" + "0" * 32
FOR_JOBS = [
    *("/v1/jobs", JOB, f"{JOB}/result", f"{JOB}/summary", f"{JOB}/plots/bar", "/v1/appliance"),
    *("/v1/models", "/v1/models/wine", "/v1/models/wine/examples"),
]
RECYCLE = "/v1/workers/recycle"
NO_KEYS = [
    *(
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic YTpi",
        API_KEY,
        f"Bearer {API_KEY}x",
        "Bearer \xe9",
    ),
]


@pytest.mark.parametrize("authorization", NO_KEYS)
def test_without_a_valid_key_nothing_is_open(client: InProcess, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    posts = [("POST", path) for path in ("/v1/jobs", "/v1/explain", RECYCLE)]
    for method, path in [*(("GET", path) for path in (*FOR_JOBS, "/metrics", "/v1/workers")), *posts]:
        body = {"Content-Type": "application/json"} if method == "POST" else {}
        reply = client.call(method, path, b"", {**headers, **body}, key=None)
        assert reply.refusal == (401, "unauthorized"), path
        assert reply.headers["www-authenticate"].startswith("Bearer")


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
    for path in ("/v1/jobs", "/v1/explain"):
        assert (
            client.call("POST", path, b"{}", {"Content-Type": "application/json"}, METRICS_TOKEN).status
            == 403
        )
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


def test_an_appliance_that_stops_takes_no_new_work_and_asks_nobody_to_leave(
    client: InProcess, components: Components
) -> None:
    body = {"model": "diabetes", "rows": [[1.0] * 10]}
    job = client.post_json("/v1/jobs", body).json
    ApplianceStatus(written_at=1e12, draining=True).write(components.settings.status_file)
    components.status._read_at = -1.0
    for path in ("/v1/jobs", "/v1/explain"):
        assert client.post_json(path, body).refusal == (503, "draining")
    assert client.call("POST", RECYCLE, key=ADMIN_API_KEY).slug == "draining"
    assert client.get("/readyz").json["probes"]["draining"]["ok"] is False
    assert client.get(job["links"]["self"]).status == 200
