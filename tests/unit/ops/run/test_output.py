"""Programs' output, cut anywhere, becomes whole lines in one format, without waiting."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any

import pytest
from hypothesis import given, settings
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
#: As redis-server 7 and 8 write them, and its output on a terminal and before 6.2.
REDIS = """258:C 25 Nov 2026 01:38:53.369 # WARNING Memory overcommit must be enabled!
258:M 25 Nov 2026 01:38:53.370 * Ready to accept connections unix
258:M 25 Nov 2026 01:38:53.371 - 1 clients connected
258:M 25 Nov 2026 01:38:53.372 . debugging
258:signal-handler (1700000000) Received SIGTERM scheduling shutdown...
"""
LOGO = """                _._
      _.-``    `.  `_.  ''-._           Redis 7.0.15 (00000000/0) 64 bit

"""


def json_stream(level: int = logging.INFO) -> LineStream:
    return LineStream(JsonFormatter("worker", "worker-1"), level)


def read(output: bytes) -> list[dict[str, Any]]:
    assert output == b"" or output.endswith(b"\n")
    return [json.loads(line) for line in output.decode().split("\n")[:-1]]


def test_a_line_in_the_format_passes_unchanged_however_it_is_cut() -> None:
    data = f"{SHAPED}\n".encode() * 3
    for size in (1, 7, 1000):
        stream = json_stream()
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        assert b"".join(stream.feed(part) for part in parts) + stream.end() == data


def test_a_traceback_written_in_pieces_is_one_record_and_comes_before_the_line_that_follows() -> None:
    now = [0.0]
    stream = LineStream(JsonFormatter("worker", "worker-1"), logging.INFO, clock=lambda: now[0])
    for char in TRACEBACK:
        assert stream.feed(char.encode()) + stream.settle() == b""
    now[0] += TOGETHER_SECONDS
    [record] = read(stream.settle())
    assert stream.settle() == b""
    assert (record["service"], record["process"], record["level"]) == ("worker", "worker-1", "ERROR")
    assert record["message"] == "ModuleNotFoundError: No module named 'y'"
    assert record["exception"] == TRACEBACK.rstrip("\n")
    assert stream.feed(b"one\n") == b""
    records = read(stream.feed(f"two\n{SHAPED}\nthree\n".encode()) + stream.end())
    assert [record["message"] for record in records] == ["one", "é", "three"]
    assert records[0]["exception"] == "two"


def test_last_words_without_an_end_are_told_at_the_programs_end_with_a_level() -> None:
    for text, level in (
        ("MemoryError", "ERROR"),
        ("Fatal Python error: Aborted", "ERROR"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "ERROR"),
        ("*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***", "ERROR"),
        ("supervisor: couldn't exec x: ENOENT", "ERROR"),
        ("parent_death: another process holds /data/redis/lock; trying again", "WARNING"),
        (SHAPED[:-9], "WARNING"),  # its process did not live to finish it
    ):
        stream = json_stream()
        assert stream.feed(text.encode()) == b""
        [record] = read(stream.end())
        assert stream.end() == b""
        assert (record["message"], record["level"], "exception" in record) == (text, level, False)


def test_redis_lines_keep_their_level_and_process_id_and_its_picture_is_one_record() -> None:
    picture, *records = read(json_stream(logging.DEBUG).feed((LOGO + REDIS).encode()))
    assert "Redis 7.0.15" in picture["exception"]
    assert [record["level"] for record in records] == ["WARNING", "INFO", "DEBUG", "DEBUG", "WARNING"]
    assert records[0]["message"] == "WARNING Memory overcommit must be enabled!"
    assert {(record["logger"], record["pid"]) for record in records} == {("redis", 258)}
    assert len(read(json_stream(logging.WARNING).feed(REDIS.encode()))) == 2


@pytest.mark.parametrize("data", [b"x" * 100_000, b"%0999d\n" % 0 * 100], ids=["line", "lines"])
def test_output_without_an_end_is_cut_and_not_kept_in_memory(data: bytes) -> None:
    stream, printed = json_stream(), b""
    for _ in range(6):
        printed += stream.feed(data)
        assert len(stream._unfinished) + sum(map(len, stream._held)) <= MOST_BYTES
    records = read(printed + stream.feed(b"\n") + stream.end())
    told = "".join(record["message"] + record.get("exception", "") for record in records)
    assert len(told.replace("\n", "")) == 6 * len(data.replace(b"\n", b""))
    assert len(records) >= 2


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


@settings(max_examples=50)
@given(st.lists(st.one_of(st.binary(), st.sampled_from([b"\n", f"{SHAPED}\n".encode(), b"  \n"]))))
def test_whatever_a_program_prints_every_line_that_comes_out_is_in_the_format(parts: list[bytes]) -> None:
    for formatter in (JsonFormatter("x"), TextFormatter("x")):
        stream = LineStream(formatter, logging.INFO)
        printed = b"".join([stream.feed(part) for part in parts]) + stream.end()
        below = False
        for line in printed.split(b"\n")[:-1]:
            assert formatter.wrote(line, below=below), line
            below = True


def test_a_reader_that_comes_late_gets_whole_lines_and_the_number_of_missing_ones() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as late, os.fdopen(writer, "wb") as pipe:
        os.set_blocking(reader, False)
        output = PatientOutput(pipe.fileno(), lambda count: b"missing: %d\n" % count)
        # Nobody reads: this ends at all, though it is many times what a pipe and we hold.
        lines = [b"%d\n" % number for number in range(2 * MOST_WAITING // 7)]
        for first in range(0, len(lines), 1000):
            output.write(b"".join(lines[first : first + 1000]))
        printed = b""
        while part := late.read(1 << 16):
            printed += part
            output.write()
        output.write(b"after\n")
        *told, gap, last = (printed + (late.read(1 << 16) or b"")).splitlines(keepends=True)
    assert told == lines[: len(told)]
    assert len(printed) > MOST_WAITING
    assert gap == b"missing: %d\n" % (len(lines) - len(told))
    assert last == b"after\n"


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = PatientOutput(writer, lambda count: b"missing: %d\n" % count)
    for _ in range(2):
        output.write(b"line\n")
    output.finish()
    os.close(writer)
