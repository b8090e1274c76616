"""Programs' output, cut anywhere, becomes whole lines in one format, without waiting."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.run.output import MOST_BYTES, TOGETHER_SECONDS, LineStream
from ops.run.patient_output import MOST_WAITING, PatientOutput
from shared.log import JsonFormatter, TextFormatter

SHAPED = JsonFormatter("worker", "worker-1").format(logging.makeLogRecord({"msg": "é", "levelname": "INFO"}))
TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
    import y
ModuleNotFoundError: No module named 'y'
"""
#: As redis-server 7 and 8 write them.
REDIS = """258:C 25 Nov 2026 01:38:53.369 # WARNING Memory overcommit must be enabled!
258:M 25 Nov 2026 01:38:53.370 * Ready to accept connections unix
258:M 25 Nov 2026 01:38:53.371 - 1 clients connected
258:M 25 Nov 2026 01:38:53.372 . debugging
258:signal-handler (1700000000) Received SIGTERM scheduling shutdown...
"""
#: Redis's output on a terminal at its start, and everywhere before 6.2.
LOGO = """                _._
           _.-``__ ''-._
      _.-``    `.  `_.  ''-._           Redis 7.0.15 (00000000/0) 64 bit

"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream(clock: Clock) -> LineStream:
    return LineStream(JsonFormatter("worker", "worker-1"), logging.INFO, clock=clock)


def read(output: bytes) -> list[dict[str, Any]]:
    assert output == b"" or output.endswith(b"\n")
    return [json.loads(line) for line in output.decode().split("\n")[:-1]]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_in_the_format_passes_unchanged_however_it_is_cut(stream: LineStream, size: int) -> None:
    data = f"{SHAPED}\n".encode() * 3
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(stream.feed(part) for part in parts) + stream.end() == data


def test_a_traceback_written_in_pieces_is_one_record(stream: LineStream, clock: Clock) -> None:
    for char in TRACEBACK:
        assert stream.feed(char.encode()) + stream.settle() == b""
    clock.now += TOGETHER_SECONDS
    [record] = read(stream.settle())
    assert stream.settle() == b""
    assert record.pop("exception") == TRACEBACK.rstrip("\n")
    del record["time"]
    assert record == {
        "level": "ERROR",
        "service": "worker",
        "process": "worker-1",
        "logger": "raw",
        "message": "ModuleNotFoundError: No module named 'y'",
    }


def test_raw_lines_come_before_the_line_in_the_format_that_follows_them(stream: LineStream) -> None:
    assert stream.feed(b"one\n") == b""
    records = read(stream.feed(f"two\n{SHAPED}\nthree\n".encode()) + stream.end())
    assert [record["message"] for record in records] == ["one", "é", "three"]
    assert records[0]["exception"] == "two"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("MemoryError", "ERROR"),
        ("Fatal Python error: Aborted", "ERROR"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "ERROR"),
        ("*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***", "ERROR"),
        ("supervisor: couldn't exec x: ENOENT", "ERROR"),
        ("parent_death: another process holds /data/redis/lock; trying again", "WARNING"),
        (SHAPED[:-9], "WARNING"),  # its process did not live to finish it
    ],
)
def test_last_words_without_an_end_are_told_at_the_programs_end(
    stream: LineStream, text: str, level: str
) -> None:
    assert stream.feed(text.encode()) == b""
    [record] = read(stream.end())
    assert stream.end() == b""
    assert (record["message"], record["level"], "exception" in record) == (text, level, False)


def test_redis_lines_keep_their_level_and_process_id_and_its_picture_is_one_record() -> None:
    picture, *records = read(LineStream(JsonFormatter("redis"), logging.DEBUG).feed((LOGO + REDIS).encode()))
    assert "Redis 7.0.15" in picture["exception"]
    assert [(record["level"], record["message"]) for record in records] == [
        ("WARNING", "WARNING Memory overcommit must be enabled!"),
        ("INFO", "Ready to accept connections unix"),
        ("DEBUG", "1 clients connected"),
        ("DEBUG", "debugging"),
        ("WARNING", "Received SIGTERM scheduling shutdown..."),
    ]
    assert {(record["logger"], record["pid"]) for record in records} == {("redis", 258)}
    assert len(read(LineStream(JsonFormatter("redis"), logging.WARNING).feed(REDIS.encode()))) == 2


@pytest.mark.parametrize("data", [b"x" * 100_000, b"0123456789\n" * 10_000])
def test_output_without_an_end_is_cut_and_not_kept_in_memory(stream: LineStream, data: bytes) -> None:
    printed = b""
    for _ in range(11):
        printed += stream.feed(data)
        assert len(stream._unfinished) + sum(map(len, stream._held)) <= MOST_BYTES
    records = read(printed + stream.feed(b"\n") + stream.end())
    told = "".join(record["message"] + record.get("exception", "") for record in records)
    assert len(told.replace("\n", "")) == 11 * len(data.replace(b"\n", b""))
    assert len(records) >= 3


def test_in_text_a_traceback_passes_below_its_line_and_raw_lines_get_a_head() -> None:
    formatter = TextFormatter("api")
    stream = LineStream(formatter, logging.INFO)
    logged = formatter.format(
        logging.makeLogRecord({"msg": "it broke", "levelname": "ERROR", "exception": TRACEBACK.strip()})
    )
    printed = (stream.feed(f"{logged}\n{TRACEBACK}".encode()) + stream.end()).decode()
    assert printed.startswith(f"{logged}\n")
    head, *below = printed.removeprefix(f"{logged}\n").removesuffix("\n").split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d ERROR   api        ModuleNotFoundError: No module named 'y'", head)
    assert below == [f"  {line}" for line in TRACEBACK.strip().split("\n")]


def test_a_text_for_people_passes_as_it_is() -> None:
    stream = LineStream(TextFormatter("announce"), logging.INFO, verbatim=True)
    text = b"\nready\n  key  x\n\ncurl"
    assert stream.feed(text) + stream.end() == text + b"\n"


@given(st.lists(st.one_of(st.binary(), st.sampled_from([b"\n", f"{SHAPED}\n".encode(), b"  \n"]))))
def test_whatever_a_program_prints_every_line_that_comes_out_is_in_the_format(parts: list[bytes]) -> None:
    for formatter in (JsonFormatter("x"), TextFormatter("x")):
        stream = LineStream(formatter, logging.INFO)
        printed = b"".join([stream.feed(part) for part in parts]) + stream.end()
        below = False
        for line in printed.split(b"\n")[:-1]:
            assert formatter.wrote(line, below=below), line
            below = True


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(writer)
    os.close(reader)


def drain(reader: int) -> bytes:
    read = b""
    try:
        while part := os.read(reader, 1 << 16):
            read += part
    except BlockingIOError:
        pass
    return read


def numbers(first: int, count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, first + count))


def test_a_reader_that_comes_late_gets_whole_lines_and_the_number_of_missing_ones(
    pipe: tuple[int, int],
) -> None:
    output = PatientOutput(pipe[1], lambda count: b"missing: %d\n" % count)
    output.write(numbers(0, 1000))
    assert drain(pipe[0]) == numbers(0, 1000)
    # Nobody reads: this ends at all, though it is many times what a pipe and we hold.
    step, count = 1000, 10 * MOST_WAITING // 7
    for first in range(0, count, step):
        output.write(numbers(first, step))
    printed = b""
    while part := drain(pipe[0]):
        printed += part
        output.write()
    output.write(b"after\n")
    *lines, gap, last = (printed + drain(pipe[0])).split(b"\n")[:-1]
    assert [int(line) for line in lines] == list(range(len(lines)))
    assert len(printed) > MOST_WAITING
    assert gap == b"missing: %d" % (len(range(0, count, step)) * step - len(lines))
    assert last == b"after"


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = PatientOutput(writer, lambda count: b"missing: %d\n" % count)
    for _ in range(2):
        output.write(b"line\n")
    output.finish()
    os.close(writer)
