import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from shared.log import (
    JsonFormatter,
    TextFormatter,
    _context,
    add_to_log_context,
    configure_logging,
    log_context,
)
from shared.settings import LogFormat, Settings

JSON = Settings(log_format=LogFormat.JSON)
#: Characters that a line must not contain: other line ends, colours, a bell, half a surrogate pair.
ODD = "a\nb\r\x1b[31m\x07\u2028\u202e\ud83dz"


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    for module, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def fail() -> None:
    raise ValueError("broken\nin two lines")


def test_a_json_line_carries_the_service_the_context_and_the_extra_fields_whatever_they_are(
    stream: io.StringIO,
) -> None:
    configure_logging(JSON, "worker", stream, process="worker-1")
    with log_context(job="abc", batch=7):
        logging.getLogger("x").info("batch %s", "explained", extra={"seconds": 0.5})
    odd = {"big": 2**70, "path": ODD, "nan": float("nan"), "thing": object()}
    logging.getLogger("x").info(ODD, extra=odd)
    first, second = map(json.loads, stream.getvalue().removesuffix("\n").split("\n"))
    assert first["message"] == "batch explained"
    assert (first["service"], first["process"], first["logger"]) == ("worker", "worker-1", "x")
    assert (first["job"], first["batch"], first["seconds"]) == ("abc", 7, 0.5)
    assert second["message"].startswith("a\nb")
    assert "\\ud83d" in second["path"]


def test_a_text_line_has_its_fields_behind_and_those_of_a_block_end_with_it(stream: io.StringIO) -> None:
    configure_logging(Settings(), "api", stream)
    with log_context(request="r1"):
        logging.getLogger("x").warning("odd", extra={"cause": 'it said "no"', "empty": "", "n": 3})
    assert stream.getvalue().endswith(' odd request=r1 cause="it said \\"no\\"" empty="" n=3\n')
    with log_context():
        add_to_log_context(request="r1")
        with log_context(request="", job="abc"):  # what has no value hides nothing
            assert _context.get().get("request") == "r1"
        assert _context.get().get("request") == "r1"
    assert _context.get().get("request") is None


def test_nothing_that_is_logged_can_end_a_text_line_or_move_the_cursor(stream: io.StringIO) -> None:
    configure_logging(Settings(), "api", stream)
    logger = logging.getLogger("x")
    logger.info(ODD)
    logger.info("plain", extra={"x": ODD})
    try:
        raise ValueError(ODD + "\n12:00:00 INFO    api       forged")
    except ValueError:
        logger.exception("it broke")
    lines = stream.getvalue().removesuffix("\n").split("\n")
    for head, said in zip(lines, ("a", "plain", "it broke"), strict=False):
        assert re.match(rf"\d\d:\d\d:\d\d (INFO|ERROR) +api +{said}", head)
    assert len(lines) > 3
    assert all(line.startswith("  ") for line in lines[3:])
    assert all(line.isprintable() for line in lines)


def test_a_logger_with_a_level_of_its_own_does_not_get_below_log_level(stream: io.StringIO) -> None:
    configure_logging(Settings(log_level="ERROR"), "worker", stream)
    logger = logging.getLogger("like.rq")
    logger.setLevel("WARNING")
    logger.warning("not to be seen")
    logger.error("to be seen")
    assert stream.getvalue().count("\n") == 1


def test_each_formatter_knows_its_own_lines_and_no_others() -> None:
    record = logging.makeLogRecord({"msg": "x", "levelname": "INFO", "exception": "Traceback\n  below"})
    as_json, as_text = JsonFormatter("api"), TextFormatter("api")
    [json_line] = as_json.format(record).encode().split(b"\n")
    head, *below = as_text.format(record).encode().split(b"\n")

    assert as_json.wrote(json_line, below=False)
    assert as_text.wrote(head, below=False)
    assert below
    assert all(as_text.wrote(line, below=True) for line in below)
    assert not any(as_text.wrote(line, below=False) for line in below)
    for other in (b"", b"{}", b'{"time": 1}', json_line[:-1], json_line + b"}", head, b"[]", b'"time"'):
        assert not as_json.wrote(other, below=True)
    for other in (b"", json_line, b"12:00:00", b"12:00:00 LOUD    api x", b"Traceback"):
        assert not as_text.wrote(other, below=True)


class Unraisable:
    def __del__(self) -> None:
        fail()


def raise_unhandled() -> None:
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)


def break_a_thread() -> None:
    thread = threading.Thread(target=fail, name="duty")
    thread.start()
    thread.join()


def log_an_exception() -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("x").exception("it broke")


def test_an_exception_or_a_warning_is_one_record(stream: io.StringIO) -> None:
    breaks: dict[Callable[[], object], tuple[str, str]] = {
        log_an_exception: ("ERROR", "it broke"),
        raise_unhandled: ("CRITICAL", "the process exits: uncaught ValueError"),
        break_a_thread: ("ERROR", "the thread duty ends: uncaught ValueError"),
        Unraisable: ("ERROR", "Unraisable.__del__"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(JSON, "api", stream)
        for broken in breaks:
            broken()
        warnings.warn("too old", DeprecationWarning, stacklevel=1)
    *lines, warning = map(json.loads, stream.getvalue().splitlines())
    for line, (level, message) in zip(lines, breaks.values(), strict=True):
        assert line["level"] == level
        assert message in line["message"]
        assert "ValueError: broken\nin two lines" in line["exception"]
        assert "in fail" in line["exception"]
    assert (warning["level"], warning["message"]) == ("WARNING", "DeprecationWarning: too old")
    assert warning["where"].startswith(__file__)
