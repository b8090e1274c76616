"""Clients of the application, in process and over HTTP, that check every answer's schema."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import falcon.testing

from ops.lab.trial_appliance import free_ports
from ops.run.program_environment import GIVE_BACK
from services.api.components import Components
from services.api.http.access_log import AccessLog, StartResponse
from shapbox import Shapbox
from shared.build import ROOT
from shared.log import log_context
from shared.settings import Settings
from tests.support.openapi_contract import contract
from tests.support.redis_server import until

API_KEY, ADMIN_API_KEY, METRICS_TOKEN = (
    "api-key-of-the-tests",
    "admin-key-of-the-tests",
    "metrics-token-of-tests",
)
JSON, CSV, NDJSON, NPY = "application/json", "text/csv", "application/x-ndjson", "application/x-npy"


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

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.slug


class Client:
    """The common part of both clients. `key` None sends no Authorization."""

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
        contract().check(method, path, reply.status, reply.headers, reply.body)
        return reply

    def get(self, path: str, key: str | None = API_KEY, **headers: str) -> Reply:
        return self.call("GET", path, headers=_named(headers), key=key)

    def post_json(self, path: str, value: Any, **headers: str) -> Reply:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.post(path, body, JSON, **headers)

    def post(self, path: str, body: bytes, content_type: str, **headers: str) -> Reply:
        return self.call("POST", path, body, {"Content-Type": content_type, **_named(headers)})


class InProcess(Client):
    """Calls the application without a server."""

    def __init__(self, app: AccessLog) -> None:
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
        self.port = port
        self._box = Shapbox(f"http://127.0.0.1:{port}", "")

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        answer = self._box.call(method, path, body or None, headers)
        return Reply(answer.status, dict(answer.headers), answer.body)


class Process:
    """The api as a process of its own, without supervisord."""

    def __init__(self, settings: Settings) -> None:
        self.port = free_ports(1)[0]
        addition = {"DATA_DIR": str(settings.data_dir), "PORT": str(self.port), "API_KEY": API_KEY}
        environment = {**os.environ, **GIVE_BACK, **addition}
        self.log = Path(settings.data_dir, "api.log")
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "services.api"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        self.http = OverHttp(self.port)

    def __enter__(self) -> Self:
        until(self._answers)
        return self

    def __exit__(self, *_fault: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Return the seconds that it takes to end after SIGTERM."""
        started = time.monotonic()
        self.process.terminate()
        assert self.process.wait(60) == 0
        return time.monotonic() - started

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.http.get("/healthz").status == 200
        return False


def changed(components: Components, **replaced: Any) -> Components:
    """Return a copy of the components with other attributes."""
    other = copy.copy(components)
    for name in ("submission", "responses"):  # made of the others
        vars(other).pop(name, None)
    vars(other).update(replaced)
    return other


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
