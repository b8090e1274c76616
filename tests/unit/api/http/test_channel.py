from __future__ import annotations

import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waitress.buffers import OverflowableBuffer

from services.api.http import channel
from services.api.http.channel import Channel

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


def half_sent(answer: bytes = ANSWER, sent: int = SENT) -> OverflowableBuffer:
    buffer = OverflowableBuffer(2**20)
    buffer.append(answer)
    buffer.skip(sent, True)  # waitress's signature
    return buffer


def channel_with(*buffers: OverflowableBuffer) -> Channel:
    """Return a connection, without a socket, whose client takes nothing."""
    made: Any = Channel.__new__(Channel)
    made.outbuf_lock = threading.Condition()
    made.outbufs = list(buffers)
    made.total_outbufs_len = sum(map(len, buffers))
    made.connected = True
    made.adj = SimpleNamespace(outbuf_overflow=2**20)
    made._owner = SimpleNamespace(channels=[made])
    return made  # type: ignore[no-any-return]  # as its methods need it


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


def test_small_answers_are_left_where_they_are() -> None:
    small = OverflowableBuffer(2**20)
    small.append(b"small")
    waiting = channel_with(small)
    waiting._bound_memory()
    assert (waiting.kept_bytes, small.buf, small.get()) == (0, None, b"small")


# The file that could not be written is closed by Python, which cannot write its rest either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("order", [1, -1])
def test_what_no_file_takes_counts_and_stays_in_memory_as_it_was(order: int) -> None:
    large, fitting = half_sent(), half_sent(ANSWER[:15_000], 5_000)
    waiting = channel_with(*[large, fitting][::order])
    with no_room():
        waiting._bound_memory()
    assert (large.overflowed, fitting.overflowed) == (False, True)
    assert waiting.kept_bytes == len(ANSWER)
    Path(tempfile.gettempdir()).rmdir()
    waiting._bound_memory()
    assert waiting.kept_bytes == len(ANSWER)
    assert (large.get(), fitting.get()) == (ANSWER[SENT:], ANSWER[5_000:15_000])
    fitting.close()


def test_the_end_of_an_answer_is_dropped_if_the_connection_was_closed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = half_sent()
    left = channel_with(buffer)
    left.socket = None  # as after closing, which has nothing else to close here
    monkeypatch.setattr("waitress.wasyncore.dispatcher.close", lambda _self: None)
    left.handle_close()
    left.end_answer()
    assert not buffer.overflowed
    assert not left.will_close  # as after an exception, which is logged
