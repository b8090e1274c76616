"""Waiting for a deploy's commit at its address."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ops.render.served import await_commit

COMMIT = "c" * 40
#: Seconds without progress that are waited for, and between two looks.
LIMIT = 0.3


def test_an_appliance_that_is_starting_is_waited_for_beyond_the_limit() -> None:
    starting, seen = [True], list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200 if self.path == "/healthz" or not starting else 503
            body = {"status": "starting" if starting else "ok", **({} if starting else {"commit": COMMIT})}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def show(line: str) -> None:
        seen.append(line)
        if len(seen) == 3:
            starting.clear()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        served = await_commit(f"http://127.0.0.1:{server.server_port}", COMMIT, LIMIT, LIMIT, show)
        server.shutdown()
    assert served.ready
    assert [line.endswith("an appliance is starting") for line in seen] == [True, True, True, False]
