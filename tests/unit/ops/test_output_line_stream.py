import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.run.output.line_stream import MOST_BYTES, TOGETHER_SECONDS, LineStream
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
  .-`` .-```.  ```\\/    _.,_ ''-._
             `-.__.-'

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


def test_a_line_in_the_shape_passes_unchanged_however_it_is_cut(stream: LineStream) -> None:
    data = f"{SHAPED}\n".encode() * 3
    for size in (1, 7, len(data)):
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        assert b"".join(stream.feed(part) for part in parts) == data
    assert stream.end() == b""


def test_a_traceback_written_in_pieces_is_one_record(stream: LineStream, clock: Clock) -> None:
    for char in TRACEBACK:
        assert stream.feed(char.encode()) == b""
        assert stream.settle() == b""
    clock.now += TOGETHER_SECONDS

    [record] = read(stream.settle())

    assert stream.settle() == b""
    assert record["message"] == "ModuleNotFoundError: No module named 'y'"
    assert record["exception"] == TRACEBACK.rstrip("\n")
    assert (record["level"], record["service"], record["process"], record["logger"]) == (
        "ERROR",
        "worker",
        "worker-1",
        "raw",
    )


def test_raw_lines_come_before_the_line_in_the_shape_that_follows_them(stream: LineStream) -> None:
    assert stream.feed(b"one\n") == b""

    records = read(stream.feed(f"two\n{SHAPED}\nthree\n".encode()) + stream.end())

    assert [record["message"] for record in records] == ["one", "é", "three"]
    assert records[0]["exception"] == "two"


def test_a_last_line_without_an_end_is_printed_when_the_program_ends(stream: LineStream) -> None:
    assert (
        stream.feed(b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std") == b""
    )

    [record] = read(stream.end())

    assert record["message"] == "terminate called after throwing an instance of 'std::bad_alloc'"
    assert record["exception"] == "  what():  std"
    assert record["level"] == "ERROR"
    assert stream.end() == b""


def test_a_line_that_its_process_did_not_live_to_finish_is_told_as_raw(stream: LineStream) -> None:
    cut = SHAPED[:-9]

    stream.feed(cut.encode())

    assert [record["message"] for record in read(stream.end())] == [cut]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("MemoryError", "ERROR"),
        ("Fatal Python error: Aborted", "ERROR"),
        ("*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***", "ERROR"),
        ("supervisor: couldn't exec x: ENOENT", "ERROR"),
        ("parent_death: another process holds /data/redis/lock; trying again", "WARNING"),
        ("hello", "WARNING"),
    ],
)
def test_the_level_of_a_raw_line_is_a_fault_or_worth_a_look(
    stream: LineStream, text: str, level: str
) -> None:
    stream.feed(f"{text}\n".encode())
    [record] = read(stream.end())
    assert (record["message"], record["level"]) == (text, level)
    assert "exception" not in record


def test_redis_lines_keep_their_level_and_process_id() -> None:
    stream = LineStream(JsonFormatter("redis"), logging.DEBUG)

    records = read(stream.feed(REDIS.encode()))

    assert [(record["level"], record["message"]) for record in records] == [
        ("WARNING", "WARNING Memory overcommit must be enabled!"),
        ("INFO", "Ready to accept connections unix"),
        ("DEBUG", "1 clients connected"),
        ("DEBUG", "debugging"),
        ("WARNING", "Received SIGTERM scheduling shutdown..."),
    ]
    assert {(record["service"], record["logger"], record["pid"]) for record in records} == {
        ("redis", "redis", 258)
    }


def test_redis_lines_below_log_level_are_left_out() -> None:
    stream = LineStream(JsonFormatter("redis"), logging.WARNING)
    assert [record["level"] for record in read(stream.feed(REDIS.encode()))] == ["WARNING", "WARNING"]


def test_redis_picture_at_its_start_is_one_record() -> None:
    stream = LineStream(JsonFormatter("redis"), logging.INFO)
    records = read(stream.feed((LOGO + REDIS).encode()))
    assert len(records) == 4
    assert "Redis 7.0.15" in records[0]["exception"]


def test_bytes_that_are_no_text_are_shown_by_their_numbers(stream: LineStream) -> None:
    stream.feed(b"\xff\x00caf\xc3\xa9\r\n")
    assert [record["message"] for record in read(stream.end())] == ["\\xff\x00café"]


def test_a_line_without_end_is_cut_and_not_kept_in_memory(stream: LineStream) -> None:
    size = 0
    printed = b""
    while size < 4 * MOST_BYTES:
        printed += stream.feed(b"x" * 100_000)
        size += 100_000
        assert len(stream._unfinished) <= MOST_BYTES
        assert sum(map(len, stream._held)) <= MOST_BYTES
    records = read(printed + stream.feed(b"\n") + stream.end())
    assert sum(len(record["message"]) for record in records) == size
    assert len(records) >= 3


def test_lines_without_end_in_number_are_told_in_parts(stream: LineStream) -> None:
    records = read(stream.feed(b"0123456789\n" * 100_000) + stream.end())
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
def test_whatever_a_program_prints_every_line_that_comes_out_is_in_the_shape(parts: list[bytes]) -> None:
    as_json, as_text = JsonFormatter("x"), TextFormatter("x")
    for formatter in (as_json, as_text):
        stream = LineStream(formatter, logging.INFO)
        printed = b"".join([stream.feed(part) for part in parts]) + stream.end()
        below = False
        for line in printed.split(b"\n")[:-1]:
            assert formatter.wrote(line, below=below), line
            below = True
