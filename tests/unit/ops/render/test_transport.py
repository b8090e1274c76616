from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ops.render.errors import NoAnswerError, UncertainError
from ops.render.patience import Patience, asked_to_wait
from ops.render.transport import Transport
from tests.support.quick import check_quick

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"ratelimit-reset": "12"}, 12.0),
        ({"ratelimit-reset": str(int(NOW) + 12)}, 12.0),
        ({"ratelimit-reset": str(int(NOW) - 12)}, 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "soon", "ratelimit-reset": "3"}, 3.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_an_answer_asks_to_wait_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked_to_wait(headers, NOW) == seconds


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    assert list(Patience(poll=3.0).waits()) == [3.0, 6.0, 12.0, 24.0, 30.0]


@pytest.fixture
def silent_host() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.fixture
def transport(silent_host: str) -> Iterator[Transport]:
    made = Transport(silent_host, "a-key-0123456789", Patience(poll=0.01, attempts=3, call=0.2))
    yield made
    made.close()


def test_a_question_that_nobody_answers_is_given_up_in_bounded_time(transport: Transport) -> None:
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match="does not answer in time"):
        transport.get("services")
    assert 0.6 <= time.monotonic() - started < 60


def test_an_order_that_nobody_answers_is_sent_once_and_called_uncertain(transport: Transport) -> None:
    def order() -> None:
        with pytest.raises(UncertainError):
            transport.order("services/srv-1/deploys", {"commitId": "0"})

    check_quick(0.6, order)


def test_an_order_that_could_not_be_sent_is_sent_again() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        transport = Transport(
            f"http://127.0.0.1:{port}", "a-key-0123456789", Patience(poll=0.2, attempts=4, call=5)
        )
        # Refused, as long as nobody listens.
        answering = threading.Thread(target=_answer_once, args=(server,))
        begin = threading.Timer(0.1, answering.start)
        begin.start()
        try:
            assert transport.order("deploys") == (201, {"id": "dep-1"})
        finally:
            begin.join()
            answering.join()
            transport.close()


def _answer_once(server: socket.socket) -> None:
    server.listen(1)
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 14\r\n\r\n{"id":"dep-1"}')


def test_no_error_tells_the_address_or_the_key() -> None:
    transport = Transport("http://127.0.0.1:9/v1", "a-key-0123456789", Patience(poll=0.0, attempts=1))
    with pytest.raises(NoAnswerError) as caught:
        transport.get("services")
    transport.close()
    assert "127.0.0.1" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
