import socket
import sys
import threading
from pathlib import Path

import pytest

from ops.lab.bench import libraries
from ops.lab.bench.libraries import LibraryProcess, peer_python
from ops.lab.bench.report import BenchError
from ops.lab.bench.timing import WayError
from ops.lab.bench.wire import Wire

#: A library's program as the bench talks to it: it answers, fails, dies or dawdles as it is told.
PROGRAM = """
import json, sys, time
for line in sys.stdin:
    rows = json.loads(line)["rows"]
    if rows == 3:
        sys.exit(1)
    if rows == 4:
        time.sleep(60)
    print(json.dumps({"seconds": 0.25} if rows == 1 else {"fault": "MemoryError: no room"}), flush=True)
"""


@pytest.mark.parametrize(
    ("rows", "patience", "said"),
    [(2, 30.0, "no room"), (3, 30.0, "its process ended"), (4, 0.2, "> 0 s")],
)
def test_a_library_that_fails_dies_or_dawdles_says_why_and_is_ended(
    rows: int, patience: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine_program.py").write_text(PROGRAM)
    monkeypatch.setattr(libraries, "PEERS", tmp_path)
    library = LibraryProcess("shap", sys.executable)
    assert library.way(30.0)(1) == 0.25
    with pytest.raises(WayError, match=said):
        library.way(patience)(rows)
    assert library.process.wait(30) is not None
    with pytest.raises(WayError, match="its process ended"):
        library.way(30.0)(1)
    library.end()


def test_an_environment_without_a_fitting_python_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(libraries, "PYTHONS", {"mlserver": "1.0"})
    said: list[str] = []
    assert peer_python("mlserver", said.append) is None
    assert said[-1].startswith("mlserver is left out")


def test_a_service_that_closes_a_connection_is_connected_again_or_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b""):
                connection, _ = server.accept()
                if answer:
                    connection.recv(1000)
                    connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Wire("peer", server.getsockname()[1]) as wire:
            wire._socket.recv(1, socket.MSG_PEEK)  # until it has closed the first connection
            wire.renew()
            assert wire.ask(b"x") == b"ok"
            wire._socket.recv(1, socket.MSG_PEEK)
            wire.renew()
            with pytest.raises((BenchError, ConnectionError), match=r"peer closed the connection|reset|pipe"):
                wire.ask(b"x")
        thread.join()
