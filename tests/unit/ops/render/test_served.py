from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops.render.served import Served, await_commit, look

OLD, NEW = "0" * 40, "1" * 40


class Changing(HTTPServer):
    """Answers as the old commit for some looks, then as the new one; `broken`: without JSON."""

    looks, old_looks, broken = 0, 3, False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Changing

    def do_GET(self) -> None:
        self.server.looks += self.path == "/version"
        commit = OLD if self.server.looks <= self.server.old_looks else NEW
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>" if self.server.broken else json.dumps({"commit": commit}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def changing() -> Iterator[Changing]:
    with Changing(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_old_container_is_waited_out_though_it_is_ready(changing: Changing) -> None:
    assert await_commit(changing.url, NEW, seconds=30, poll=0.01) == Served(NEW, healthy=True, ready=True)
    changing.old_looks = 10_000
    assert await_commit(changing.url, NEW, seconds=0.1, poll=0.01).commit == OLD


def test_another_page_and_an_address_where_nobody_listens_are_nothing_of_ours(changing: Changing) -> None:
    changing.broken = True
    for url in (changing.url, "http://127.0.0.1:9"):
        assert look(url).commit is None
        assert str(look(url)) == "nothing of ours answers"
