from __future__ import annotations

import socket
import threading

import pytest

from ops.render.calls import Calls, RenderError, asked_to_wait

NOW, KEY = 1_800_000_000.0, "a-key-0123456789"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"ratelimit-reset": "12"}, 12.0),
        ({"ratelimit-reset": str(int(NOW) + 12)}, 12.0),
        ({"ratelimit-reset": str(int(NOW) - 12)}, 0.0),
        ({"retry-after": "soon", "ratelimit-reset": "3"}, 3.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_a_rate_limit_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_to_wait(headers, NOW) == seconds


def connections(server: socket.socket) -> int:
    """Return how many connections were made."""
    server.setblocking(False)
    found = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return found
        found += 1


def test_a_question_without_an_answer_is_repeated_and_an_order_is_not() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        calls = Calls(address, KEY, 0.01, print, attempts=3, seconds=0.1)
        with pytest.raises(RenderError, match=r"does not answer in time.*, 3 times in a row") as unanswered:
            calls.ask("GET", "services")
        assert (unanswered.value.status, unanswered.value.uncertain) == (0, False)
        assert connections(silent) == 3
        with pytest.raises(RenderError) as unknown:
            calls.order("services/srv-1/deploys", {"commitId": "0"})
        assert unknown.value.uncertain
        assert connections(silent) == 1
        calls.close()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_an_answer_that_trickles_has_a_deadline_in_its_head_and_in_its_body(head: bytes) -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        trickling = threading.Thread(target=_trickle, args=(server, head, ended))
        trickling.start()
        calls = Calls(f"http://127.0.0.1:{server.getsockname()[1]}", KEY, 0.01, print, attempts=1, seconds=1)
        try:
            with pytest.raises(
                RenderError, match=r"does not answer in time, 1 s at most \(TimeoutError"
            ) as late:
                calls.order("deploys")
        finally:
            ended.set()
            trickling.join()
            calls.close()
    assert late.value.uncertain


def _trickle(server: socket.socket, head: bytes, ended: threading.Event) -> None:
    """Send a byte in a tenth of the client's patience, until it has left or long after."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(head)
        for _ in range(300):
            if ended.wait(0.1):
                return
            connection.sendall(b"x")


def test_an_order_that_could_not_be_sent_is_sent_again() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        listening = threading.Thread(target=_answer_once, args=(server,))
        notices: list[str] = []

        def notice(line: str) -> None:
            notices.append(line)
            if len(notices) == 1:  # refused, as long as nobody listens
                listening.start()

        calls = Calls(f"http://127.0.0.1:{server.getsockname()[1]}", KEY, 0.05, notice, attempts=9, seconds=5)
        assert calls.order("deploys") == {"id": "dep-1"}
        listening.join()
        calls.close()
    assert "cannot be reached" in notices[0]
    assert "127.0.0.1" not in notices[0]  # an address may be a hook, which is a secret


def _answer_once(server: socket.socket) -> None:
    server.listen(1)
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 14\r\n\r\n{"id":"dep-1"}')
