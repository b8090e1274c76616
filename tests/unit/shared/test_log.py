import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.log import configure_logging, current_request, log_context
from shared.settings import LogFormat, Settings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_json_line_carries_the_service_the_context_and_the_extra_fields(stream: io.StringIO) -> None:
    configure_logging(Settings(log_format=LogFormat.JSON), "worker-1", stream)

    with log_context(job="abc", batch=7):
        logging.getLogger("x").info("batch %s", "explained", extra={"seconds": 0.5})

    line = json.loads(stream.getvalue())
    assert line["message"] == "batch explained"
    assert (line["service"], line["job"], line["batch"], line["seconds"]) == ("worker-1", "abc", 7, 0.5)


def test_a_text_line_is_one_line_with_its_fields_behind(stream: io.StringIO) -> None:
    configure_logging(Settings(), "api", stream)

    with log_context(request="r1"):
        assert current_request() == "r1"
        logging.getLogger("x").warning("odd")

    assert stream.getvalue().endswith("odd request=r1\n")
    assert current_request() is None


def test_an_exception_is_part_of_the_json_line(stream: io.StringIO) -> None:
    configure_logging(Settings(log_format=LogFormat.JSON), "api", stream)

    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("it broke")

    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]
