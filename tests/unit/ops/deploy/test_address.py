from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops.render.deploy.address import Served, await_commit, look

OLD, NEW = "0" * 40, "1" * 40


class Changing(HTTPServer):
    """Answers as the old commit for some looks, then as the new one; `broken`: without JSON."""

    def __init__(self, old_looks: int, *, broken: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.looks, self.old_looks, self.broken = 0, old_looks, broken
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Changing

    def do_GET(self) -> None:
        if self.path == "/version":
            self.server.looks += 1
        commit = OLD if self.server.looks <= self.server.old_looks else NEW
        documents = {"/version": {"commit": commit}, "/readyz": {"probes": {"models": {"fallback": ["m@1"]}}}}
        body = b"<html>" if self.server.broken else json.dumps(documents.get(self.path, {})).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def changing(request: pytest.FixtureRequest) -> Iterator[Changing]:
    with Changing(**request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("changing", [{"old_looks": 3}], indirect=True)
def test_the_old_container_is_waited_out_though_it_is_ready(changing: Changing) -> None:
    served = await_commit(changing.url, NEW, seconds=10, poll=0.01)
    assert (served.commit, served.ready, served.placeholders) == (NEW, True, ("m@1",))


@pytest.mark.parametrize("changing", [{"old_looks": 10_000}], indirect=True)
def test_one_that_stays_is_told_after_the_time_that_is_given(changing: Changing) -> None:
    assert await_commit(changing.url, NEW, seconds=0.1, poll=0.01).commit == OLD


@pytest.mark.parametrize("changing", [{"old_looks": 0, "broken": True}], indirect=True)
def test_somebody_elses_page_is_nothing_of_ours(changing: Changing) -> None:
    assert look(changing.url).commit is None
    assert "nothing of ours" in str(look(changing.url))


def test_an_address_where_nobody_listens_is_no_error() -> None:
    assert look("http://127.0.0.1:9") == Served(None, healthy=False, ready=False)
