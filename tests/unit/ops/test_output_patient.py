import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from ops.run.output import patient_output
from ops.run.output.patient_output import PatientOutput
from tests.support.quick import check_quick_by_own_clock

LINE = b"x" * 99 + b"\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_output, "PATIENCE_SECONDS", 0.05)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def drain(reader: int) -> bytes:
    read = b""
    while True:
        try:
            part = os.read(reader, 1 << 16)
        except BlockingIOError:
            return read
        read += part


def gap_line(count: int) -> bytes:
    return b"missing: %d\n" % count


def test_lines_are_written_as_they_are(pipe: tuple[int, int]) -> None:
    output = PatientOutput(pipe[1], gap_line)
    output.write(b"")
    output.write(LINE * 300)
    assert drain(pipe[0]) == LINE * 300


def test_without_a_reader_nobody_waits_and_what_is_missing_is_counted(pipe: tuple[int, int]) -> None:
    output = PatientOutput(pipe[1], gap_line)
    started = time.monotonic()
    for _ in range(5000):
        output.write(LINE)
    assert time.monotonic() - started < 60  # with any patience it would be minutes

    before = drain(pipe[0])
    output.write(b"after\n")
    after = drain(pipe[0])

    *lines, told, last = (before + after).split(b"\n")[:-1]
    assert set(lines) == {LINE[:-1]}
    assert told == b"missing: %d" % (5000 - len(lines))
    assert last == b"after"


@contextlib.contextmanager
def sipped(reader: int) -> Iterator[None]:
    """Read a piece of a pipe now and then, sooner than anybody's patience ends."""
    ended = threading.Event()

    def sip() -> None:
        while not ended.wait(patient_output.PATIENCE_SECONDS / 2):
            with contextlib.suppress(BlockingIOError):
                os.read(reader, patient_output.PIECE)

    taker = threading.Thread(target=sip)
    taker.start()
    try:
        yield
    finally:
        ended.set()
        taker.join()


def seconds_of(output: PatientOutput, lines: bytes) -> float:
    started = time.monotonic()
    output.write(lines)
    return time.monotonic() - started


def test_a_slow_reader_is_waited_for_once_and_not_for_each_piece(pipe: tuple[int, int]) -> None:
    def write() -> float:
        with sipped(pipe[0]):
            return seconds_of(PatientOutput(pipe[1], gap_line), LINE * 10_000)

    # Piece by piece it would be a hundred times.
    check_quick_by_own_clock(10 * patient_output.PATIENCE_SECONDS, write)


def test_a_reader_that_is_behind_is_not_waited_for_again(pipe: tuple[int, int]) -> None:
    output, waited = PatientOutput(pipe[1], gap_line), 0.0
    with sipped(pipe[0]):
        output.write(LINE * 2000)
        for _ in range(20):
            time.sleep(patient_output.PATIENCE_SECONDS)  # the reader takes some meanwhile
            waited += seconds_of(output, LINE * 500)
    assert waited < 10 * patient_output.PATIENCE_SECONDS  # each time it would be twenty times


def test_a_line_that_was_begun_is_ended_first(pipe: tuple[int, int]) -> None:
    output = PatientOutput(pipe[1], gap_line)
    output.write(b"".join(b"%d\n" % number for number in range(100_000)))
    printed = drain(pipe[0])
    assert not printed.endswith(b"\n")  # or this test shows nothing

    output.write(b"after\n")

    *numbers, told, last = (printed + drain(pipe[0])).split(b"\n")[:-1]
    assert [int(number) for number in numbers] == list(range(len(numbers)))
    assert told == b"missing: %d" % (100_000 - len(numbers))
    assert last == b"after"


def test_a_reader_that_has_gone_ends_nothing(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    output = PatientOutput(pipe[1], gap_line)
    output.write(LINE)
    output.write(LINE)
