"""Clients of the application, in process and over HTTP, that check every answer's schema."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import falcon.testing

from services.api.http.access_log import AccessLog, StartResponse
from shared.log import log_context
from tests.integration.api.contract import Contract

API_KEY, ADMIN_API_KEY, METRICS_TOKEN = (
    "api-key-of-the-tests",
    "admin-key-of-the-tests",
    "metrics-token-of-tests",
)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        return str(self.json["type"]).removeprefix("/problems/")

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


class Client:
    """The common part of both clients. `key` None sends no Authorization."""

    def __init__(self) -> None:
        self.contract = Contract()

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        raise NotImplementedError

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        key: str | None = API_KEY,
    ) -> Reply:
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        reply = self.send(method, path, body, sent)
        self.contract.check(method, path, reply.status, reply.headers, reply.body)
        return reply

    def get(self, path: str, key: str | None = API_KEY, **headers: str) -> Reply:
        return self.call("GET", path, headers=_named(headers), key=key)

    def post_json(self, path: str, value: Any, **headers: str) -> Reply:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.post(path, body, "application/json", **headers)

    def post(self, path: str, body: bytes, content_type: str, **headers: str) -> Reply:
        return self.call("POST", path, body, {"Content-Type": content_type, **_named(headers)})


class InProcess(Client):
    """Calls the application without a server."""

    def __init__(self, app: AccessLog) -> None:
        super().__init__()

        def seekable(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            # waitress gives a seekable body; the simulation does not.
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
            return app(environ, start_response)

        self._client = falcon.testing.TestClient(seekable)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        path, _, query = path.partition("?")
        with log_context():  # as the server does for each request
            result = self._client.simulate_request(
                method, path, query_string=query, body=body, headers=headers
            )
        return Reply(result.status_code, {k.lower(): v for k, v in result.headers.items()}, result.content)


class OverHttp(Client):
    """Calls a real server, with a connection for each request."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
