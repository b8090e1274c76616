from __future__ import annotations

import pytest

from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, METRICS_TOKEN, InProcess

CLOSED = [
    "/v1/jobs",
    "/v1/jobs/" + "0" * 32,
    "/v1/jobs/" + "0" * 32 + "/result",
    "/v1/models",
    "/v1/models/wine",
    "/v1/models/wine/examples",
    "/v1/appliance",
]


@pytest.mark.parametrize("path", [*CLOSED, "/metrics"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic YTpi",
        API_KEY,
        f"Bearer {API_KEY}x",
        "Bearer \xe9",
    ],
)
def test_without_a_valid_key_nothing_is_open(client: InProcess, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = client.call("GET", path, headers=headers, key=None)
    assert (reply.status, reply.slug) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/explain"])
def test_submitting_needs_a_key(client: InProcess, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.call("POST", path, b"{}", headers, key=None).status == 401
    assert client.call("POST", path, b"{}", headers, key=METRICS_TOKEN).status == 403


def test_a_key_opens_only_what_it_is_for(client: InProcess) -> None:
    assert client.get("/v1/models", key=API_KEY).status == 200
    assert client.get("/v1/models", key=ADMIN_API_KEY).status == 200
    assert client.get("/v1/models", key=METRICS_TOKEN).slug == "forbidden"
    assert client.get("/metrics", key=API_KEY).slug == "forbidden"
    for key in (METRICS_TOKEN, ADMIN_API_KEY):
        assert client.get("/metrics", key=key).slug == "monitor-away"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/"])
def test_some_addresses_are_open_to_all(client: InProcess, path: str) -> None:
    assert client.get(path, key=None).status == 200


def test_a_request_id_of_the_client_is_kept_if_it_is_plain(client: InProcess) -> None:
    assert client.get("/version", X_Request_Id="my-request_1.2").headers["x-request-id"] == "my-request_1.2"
    for bad in ("a b", "x" * 65, "<script>", ""):
        assert client.get("/nowhere", X_Request_Id=bad).headers["x-request-id"] != bad


def test_unknown_addresses_and_methods_are_problems_too(client: InProcess) -> None:
    assert client.get("/v2/jobs").slug == "not-found"
    reply = client.call("PUT", "/v1/jobs")
    assert (reply.status, reply.slug) == (405, "method-not-allowed")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_answers_about_jobs_are_not_cached(client: InProcess) -> None:
    assert client.get("/v1/jobs").headers["cache-control"] == "no-store"
    assert client.get("/v1/jobs", key=None).headers["cache-control"] == "no-store"
