"""Render's API by its documents and recorded exchanges, on loopback, with scripted faults.

It keeps services, deploys and their order; a deploy takes one step each time that it is asked after.
"""

from __future__ import annotations

import contextlib
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
UNKNOWN_KEY = "rnd_nobodys-key-0123456789012345"
HOOK_KEY = "a-deploy-hooks-own-key-0123456789"
#: The service's environment; generated, as the blueprint asks.
VARIABLES = {
    "API_KEY": "an-api-key-that-render-made-0123456789",
    "ADMIN_API_KEY": "an-admin-key-that-render-made-01234567",
    "METRICS_TOKEN": "a-metrics-token-that-render-made-0123456",
}
SERVICE, WORKSPACE = "srv-c0ffee0123456789abcd", "tea-c0ffee0123456789abcd"
GOOD = ("created", "build_in_progress", "update_in_progress", "live")

type Answer = tuple[int, Any]


@dataclass(slots=True)
class FakeDeploy:
    """A deploy, and the states that it still has before it."""

    id: str
    commit: str
    ahead: list[str]
    status: str

    def document(self) -> dict[str, Any]:
        commit = {"id": self.commit, "message": "a commit", "createdAt": "2026-11-25T01:02:03Z"}
        return {"id": self.id, "commit": commit, "status": self.status, "trigger": "api"}


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

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and re.search(self.path, path) is not None


class FakeRender:
    """The service, its deploys (the newest first), and everything that was asked."""

    def __init__(self) -> None:
        self.url, self.suspended = "", "not_suspended"
        #: Where this fake answers itself, and the commits that it serves there as the service; the last one stays.
        self.address, self.serves = "", [""]
        self.deploys: list[FakeDeploy] = []
        self.script: tuple[str, ...] = GOOD
        self.troubles: list[Trouble] = []
        self.asked: list[tuple[str, str]] = []
        self.variables = dict(VARIABLES)
        self.logs: dict[str, list[str]] = {"build": [], "app": []}
        self.events: list[dict[str, Any]] = []
        self.blueprint_errors: list[dict[str, Any]] = []
        #: Answer an order with 202 and no deploy, started or not.
        self.order_is_silent, self.order_is_lost = False, False
        self.rollback_script = ("update_in_progress", "live")
        self.on_live: Callable[[FakeDeploy], object] = lambda _deploy: None
        self.on_look: Callable[[FakeDeploy], object] = lambda _deploy: None
        self.on_order: Callable[[], object] = lambda: None
        self.lock = threading.RLock()

    def add_deploy(self, commit: str, *states: str) -> FakeDeploy:
        deploy = FakeDeploy(f"dep-{len(self.deploys):020d}", commit, list(states[1:]), states[0])
        self.deploys.insert(0, deploy)
        return deploy

    def orders(self) -> tuple[str, ...]:
        """Return the orders that were given, heard or not: `deploys` or `rollback`."""
        return tuple(path.rpartition("/")[2] for method, path in self.asked if method == "POST")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer on a free port of loopback; gives the address that RENDER_HOST takes."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"render": self}))
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"{self.address}/v1"
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        """Do the work of a call; returns status and document."""
        service, found = f"/v1/services/{SERVICE}", path.rpartition("/")[2]
        if (method, path) == ("POST", f"{service}/deploys"):
            return self._order(json.loads(body)["commitId"], self.script)
        if (method, path) == ("POST", f"{service}/rollback"):
            target = next(one for one in self.deploys if one.id == json.loads(body)["deployId"])
            return self._order(target.commit, self.rollback_script)
        if (method, path) == ("POST", "/v1/blueprints/validate"):
            return 200, {"valid": not self.blueprint_errors, "errors": self.blueprint_errors}
        for deploy in self.deploys:
            if deploy.id == found:
                self._step(deploy)
                return 200, deploy.document()
        return self._list(path, query)

    def _order(self, commit: str, script: tuple[str, ...]) -> Answer:
        self.on_order()
        deploy = None if self.order_is_lost else self.add_deploy(commit, *script)
        return (202, None) if deploy is None or self.order_is_silent else (201, deploy.document())

    def _step(self, deploy: FakeDeploy) -> None:
        self.on_look(deploy)
        if not deploy.ahead:
            return
        deploy.status = deploy.ahead.pop(0)
        if deploy.status == "live":
            for other in self.deploys:
                if other is not deploy and other.status == "live":
                    other.status = "deactivated"
            self.on_live(deploy)

    def _service_document(self) -> dict[str, Any]:
        return {
            "id": SERVICE,
            "name": "shapbox",
            "ownerId": WORKSPACE,
            "dashboardUrl": f"https://dashboard.example/web/{SERVICE}",
            "suspended": self.suspended,
            "serviceDetails": {"url": self.url, "disk": {"id": "dsk-1", "name": "shapbox-data"}},
        }

    def _list(self, path: str, query: Mapping[str, str]) -> Answer:
        service = f"/v1/services/{SERVICE}"
        deploys = [one.document() for one in self.deploys if query.get("status", one.status) == one.status]
        lists: dict[str, tuple[str, list[dict[str, Any]]]] = {
            "/v1/services": ("service", [self._service_document()] * (query.get("name") == "shapbox")),
            f"{service}/deploys": ("deploy", deploys[: int(query.get("limit", 20))]),
            f"{service}/env-vars": ("envVar", [{"key": k, "value": v} for k, v in self.variables.items()]),
            f"{service}/events": ("event", self.events),
            "/v1/owners": ("owner", [{"id": WORKSPACE}]),
        }
        if path == service:
            return 200, self._service_document()
        if path == "/v1/logs":
            assert (query["ownerId"], query["resource"], query["direction"]) == (
                WORKSPACE,
                SERVICE,
                "backward",
            )
            lines = [
                {"message": line, "timestamp": f"2026-11-25T01:02:{number:02d}Z"}
                for number, line in enumerate(self.logs[query["type"]])
            ]
            return 200, {"hasMore": False, "logs": lines[::-1][: int(query["limit"])]}
        if path not in lists:
            return 404, {"message": "not found"}
        name, documents = lists[path]
        return 200, [{"cursor": "c", name: document} for document in documents]


class _Handler(BaseHTTPRequestHandler):
    render: FakeRender
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts, render = urlsplit(self.path), self.render
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with render.lock:
            render.asked.append((self.command, parts.path))
            if trouble := next((one for one in render.troubles if one.fits(self.command, parts.path)), None):
                trouble.times -= 1
            if trouble is None or trouble.done:
                status, document = self._answer(parts.path, query, body)
        if trouble is None:
            self._send(status, "" if document is None else json.dumps(document), {})
        elif trouble.done or not trouble.status:
            self.close_connection = True
            self.connection.close()
        else:
            self._send(trouble.status, trouble.body, trouble.headers)

    def _answer(self, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        render = self.render
        if path in {"/version", "/healthz", "/readyz"}:
            more = path == "/version" and len(render.serves) > 1
            commit = render.serves.pop(0) if more else render.serves[0]
            return 200, {"commit": commit}
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

    def _send(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(ConnectionError):  # after Ctrl-C
            self.end_headers()
            self.wfile.write(content)
