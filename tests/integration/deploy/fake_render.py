"""Render's API by its documents and recorded exchanges, on loopback, with scripted faults.

It keeps services, deploys and their order; a deploy takes one step each time that it is asked after.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "rnd_a-key-of-renders-api-0123456789"
READING_KEY = "rnd_a-key-that-may-only-read-012345"
HOOK_KEY = "a-deploy-hooks-own-key-0123456789"
#: The service's environment; generated, as the blueprint asks.
VARIABLES = {
    "API_KEY": "an-api-key-that-render-made-0123456789",
    "ADMIN_API_KEY": "an-admin-key-that-render-made-01234567",
    "METRICS_TOKEN": "a-metrics-token-that-render-made-0123456",
}
SERVICE, WORKSPACE = "srv-c0ffee0123456789abcd", "tea-c0ffee0123456789abcd"
GOOD = ("created", "build_in_progress", "update_in_progress", "live")
FINAL = frozenset({"live", "deactivated", "build_failed", "pre_deploy_failed", "update_failed", "canceled"})


@dataclass(slots=True)
class FakeDeploy:
    """A deploy, and the states that it still has before it."""

    id: str
    commit: str
    ahead: list[str]
    status: str = "created"
    trigger: str = "api"

    def document(self) -> dict[str, Any]:
        at = "2026-11-25T01:02:03Z"
        commit = {"id": self.commit, "message": "a commit", "createdAt": at}
        times = {"createdAt": at, "updatedAt": at, "finishedAt": at if self.status in FINAL else None}
        return {"id": self.id, "commit": commit, "status": self.status, "trigger": self.trigger, **times}


@dataclass(slots=True)
class Trouble:
    """A fault for the next `times` calls that fit: instead of an answer, or after the work."""

    method: str
    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    times: int = 1
    #: The call is carried out all the same. Without a status the connection ends without an answer.
    done: bool = False


class FakeRender:
    """The service, its deploys (the newest first), and everything that was asked."""

    def __init__(self) -> None:
        self.name, self.url, self.suspended = "shapbox", "", "not_suspended"
        #: Where this fake answers itself, and the commit that it serves there as the service.
        self.address, self.serves = "", ""
        self.deploys: list[FakeDeploy] = []
        self.script: tuple[str, ...] = GOOD
        self.troubles: list[Trouble] = []
        self.asked: list[tuple[str, str]] = []
        self.variables = dict(VARIABLES)
        self.logs: dict[str, list[str]] = {"build": [], "app": []}
        self.events: list[dict[str, Any]] = []
        self.blueprint_errors: list[dict[str, Any]] = []
        #: Answer an order with 202 and no deploy.
        self.order_is_silent = False
        self.on_live: Callable[[FakeDeploy], None] = lambda _deploy: None
        self.on_look: Callable[[FakeDeploy], None] = lambda _deploy: None
        self.lock = threading.RLock()

    def add_deploy(
        self, commit: str, *ahead: str, status: str = "created", trigger: str = "api"
    ) -> FakeDeploy:
        deploy = FakeDeploy(f"dep-{len(self.deploys):020d}", commit, list(ahead), status, trigger)
        self.deploys.insert(0, deploy)
        return deploy

    def orders(self, ending: str = "/deploys") -> int:
        """Return how often something was ordered, heard or not."""
        return sum(method == "POST" and path.endswith(ending) for method, path in self.asked)

    def step(self, deploy: FakeDeploy) -> None:
        """Let a deploy come one state further."""
        self.on_look(deploy)
        if not deploy.ahead:
            return
        deploy.status = deploy.ahead.pop(0)
        if deploy.status == "live":
            for other in self.deploys:
                if other is not deploy and other.status == "live":
                    other.status = "deactivated"
            self.on_live(deploy)

    def service_document(self) -> dict[str, Any]:
        return {
            "id": SERVICE,
            "name": self.name,
            "ownerId": WORKSPACE,
            "type": "web_service",
            "branch": "main",
            "dashboardUrl": f"https://dashboard.example/web/{SERVICE}",
            "suspended": self.suspended,
            "serviceDetails": {"url": self.url, "disk": {"id": "dsk-1", "name": "shapbox-data"}},
        }

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer on a free port of loopback; gives the address that RENDER_HOST takes."""
        server = _Server(self)
        self.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"{self.address}/v1"
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        """Do the work of a call; returns status and document."""
        service, valid = f"/v1/services/{SERVICE}", not self.blueprint_errors
        works: dict[tuple[str, str], Callable[[], tuple[int, Any]]] = {
            ("GET", service): lambda: (200, self.service_document()),
            ("GET", "/v1/logs"): lambda: self.get_logs(query),
            ("POST", f"{service}/deploys"): lambda: self.post_deploy(json.loads(body)),
            ("POST", f"{service}/rollback"): lambda: self.post_rollback(json.loads(body)),
            ("POST", "/v1/blueprints/validate"): lambda: (
                200,
                {"valid": valid, "errors": self.blueprint_errors},
            ),
        }
        if (method, path) in works:
            return works[method, path]()
        if path.startswith(f"{service}/deploys/"):
            return self.get_deploy(path.rpartition("/")[2])
        return self.get_list(path, query)

    def get_list(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        service = f"/v1/services/{SERVICE}"
        variables = [{"key": key, "value": value} for key, value in self.variables.items()]
        lists: dict[str, tuple[str, list[dict[str, Any]]]] = {
            "/v1/services": ("service", [self.service_document()] * (query.get("name") == self.name)),
            f"{service}/deploys": ("deploy", self.deploy_documents(query)),
            f"{service}/env-vars": ("envVar", variables),
            f"{service}/events": ("event", self.events),
            "/v1/owners": ("owner", [{"id": WORKSPACE}]),
        }
        if path not in lists:
            return 404, {"message": "not found"}
        name, documents = lists[path]
        return 200, [{"cursor": "c", name: document} for document in documents]

    def deploy_documents(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = [one.document() for one in self.deploys if query.get("status", one.status) == one.status]
        return wanted[: int(query.get("limit", 20))]

    def get_deploy(self, deploy_id: str) -> tuple[int, Any]:
        for deploy in self.deploys:
            if deploy.id == deploy_id:
                self.step(deploy)
                return 200, deploy.document()
        return 404, {"id": "r", "message": "deploy not found"}

    def post_deploy(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        deploy = self.add_deploy(str(body["commitId"]), *self.script[1:], status=self.script[0])
        return (202, None) if self.order_is_silent else (201, deploy.document())

    def post_rollback(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        target = next(one for one in self.deploys if one.id == body.get("deployId"))
        deploy = self.add_deploy(target.commit, "update_in_progress", "live", trigger="rollback")
        return 201, deploy.document()

    def get_logs(self, query: Mapping[str, str]) -> tuple[int, Any]:
        lines = self.logs[query["type"]]
        assert (query["ownerId"], query["resource"], query["direction"]) == (WORKSPACE, SERVICE, "backward")
        stamped = [
            {"message": line, "timestamp": f"2026-11-25T01:02:{number:02d}Z"}
            for number, line in enumerate(lines)
        ]
        return 200, {"hasMore": False, "logs": stamped[::-1][: int(query["limit"])]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, render: FakeRender) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.render = render


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts, render = urlsplit(self.path), self.server.render
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with render.lock:
            render.asked.append((self.command, parts.path))
            trouble = self._trouble(parts.path)
            if trouble is None or trouble.done:
                status, document = self._answer(parts.path, query, body)
        if trouble is None:
            self._send(status, "" if document is None else json.dumps(document))
        elif trouble.done or not trouble.status:
            self.close_connection = True
            self.connection.close()
        else:
            self._send(trouble.status, trouble.body, trouble.headers)

    def _trouble(self, path: str) -> Trouble | None:
        for trouble in self.server.render.troubles:
            if trouble.times and trouble.method == self.command and re.search(trouble.path, path):
                trouble.times -= 1
                return trouble
        return None

    def _answer(self, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        render = self.server.render
        if path in {"/version", "/healthz", "/readyz"}:
            return 200, {"commit": render.serves}
        if path == f"/deploy/{SERVICE}":
            if query.get("key") != HOOK_KEY:
                return 401, {"message": "Unauthorized"}
            return 200, {"deploy": {"id": render.add_deploy(query["ref"], *render.script).id}}
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key not in {KEY, READING_KEY}:
            return 401, {"message": "Unauthorized"}
        if key == READING_KEY and self.command == "POST":
            return 403, {"id": "r", "message": "You may not do this", "code": "forbidden"}
        return render.answer(self.command, path, query, body)

    def _send(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
