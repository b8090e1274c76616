from __future__ import annotations

import resource
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from waitress.buffers import OverflowableBuffer

from services.api.http import channel
from services.api.http.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from services.api.http.server import Server

ANSWER = bytes(range(256)) * 1200
SENT = 100_000


@pytest.fixture(autouse=True)
def no_memory_for_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers wait in files of a folder of the test's own."""
    monkeypatch.setattr(channel, "WAITING_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


@contextmanager
def no_room() -> Iterator[None]:
    """Let files take no more than some KB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_folder() -> Iterator[None]:
    Path(tempfile.gettempdir()).rmdir()
    yield


def half_sent(answer: bytes = ANSWER, sent: int = SENT) -> OverflowableBuffer:
    buffer = OverflowableBuffer(2**20)
    buffer.append(answer)
    buffer.skip(sent, True)  # waitress's signature
    return buffer


def channel_with(*buffers: OverflowableBuffer) -> Channel:
    """Return a connection, without a socket, whose client takes nothing."""
    made: Channel = Channel.__new__(Channel)
    made.outbuf_lock = threading.Condition()
    made.outbufs = list(buffers)
    made.total_outbufs_len = sum(map(len, buffers))
    made.connected = True
    made.adj = SimpleNamespace(outbuf_overflow=2**20)
    made._owner = cast("Server", SimpleNamespace(channels=[made]))
    return made


def test_what_is_sent_counts_until_its_buffer_goes_and_a_file_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = half_sent()
    waiting = channel_with(buffer, OverflowableBuffer(2**20))
    monkeypatch.setattr(channel, "WAITING_BYTES", len(ANSWER))
    waiting._bound_memory()
    assert waiting.kept_bytes == len(ANSWER)
    assert not buffer.overflowed

    monkeypatch.setattr(channel, "WAITING_BYTES", len(ANSWER) - 1)
    waiting._bound_memory()
    assert waiting.kept_bytes == 0
    assert buffer.overflowed
    assert buffer.get() == ANSWER[SENT:]
    buffer.append(b"more")
    assert buffer.get() == ANSWER[SENT:] + b"more"
    buffer.close()


# The file that could not be written is closed by Python, which cannot write its rest either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("hindrance", [no_room, no_folder])
def test_what_no_file_takes_stays_in_memory_as_it_was(
    hindrance: Callable[[], AbstractContextManager[None]],
) -> None:
    buffer = half_sent()
    waiting = channel_with(buffer)
    with hindrance():
        waiting._bound_memory()
    assert waiting.kept_bytes == len(ANSWER)
    assert buffer.get() == ANSWER[SENT:]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("order", [1, -1])
def test_what_no_file_takes_counts_also_if_a_file_takes_another_answer(order: int) -> None:
    large, fitting = half_sent(), half_sent(ANSWER[:15_000], 5_000)
    waiting = channel_with(*[large, fitting][::order])
    with no_room():
        waiting._bound_memory()
    assert (large.overflowed, fitting.overflowed) == (False, True)
    assert waiting.kept_bytes == len(ANSWER)
    assert (large.get(), fitting.get()) == (ANSWER[SENT:], ANSWER[5_000:15_000])
    fitting.close()


def test_small_answers_are_left_where_they_are() -> None:
    buffer = OverflowableBuffer(2**20)
    buffer.append(b"small")
    waiting = channel_with(buffer)
    waiting._bound_memory()
    assert (waiting.kept_bytes, buffer.buf, buffer.get()) == (0, None, b"small")


def test_the_answers_of_a_connection_that_was_closed_meanwhile_are_left_alone() -> None:
    buffer = half_sent()
    waiting = channel_with(buffer)
    buffer.close()
    waiting.connected, waiting.total_outbufs_len = False, 0
    waiting.end_answer()
    assert not buffer.overflowed


def test_the_end_of_an_answer_is_dropped_if_the_client_has_left_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = OverflowableBuffer(2**20)
    small.append(b"a small answer")
    left = channel_with(small)
    left.socket = None  # as after closing, which has nothing else to close here
    monkeypatch.setattr("waitress.wasyncore.dispatcher.close", lambda _self: None)
    left.handle_close()
    left.end_answer()
    assert not left.will_close  # as after an exception, which is logged
