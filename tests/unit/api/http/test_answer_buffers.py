import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from waitress.buffers import OverflowableBuffer

from services.api.http.answer_buffers import bytes_in_memory, move_to_files

ANSWER = bytes(range(256)) * 1200


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


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


def half_sent() -> OverflowableBuffer:
    buffer = OverflowableBuffer(2**20)
    buffer.append(ANSWER)
    buffer.skip(100_000, True)  # waitress's signature
    return buffer


def test_what_is_sent_counts_until_its_buffer_goes_and_a_file_does_not() -> None:
    buffer = half_sent()
    assert bytes_in_memory([buffer, OverflowableBuffer(2**20)]) == len(ANSWER)
    move_to_files([buffer])
    assert bytes_in_memory([buffer]) == 0
    assert buffer.get() == ANSWER[100_000:]
    buffer.append(b"more")
    assert buffer.get() == ANSWER[100_000:] + b"more"
    buffer.close()


# The file that could not be written is closed by Python, which cannot write its rest either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("hindrance", [no_room, no_folder])
def test_what_no_file_takes_stays_in_memory_as_it_was(
    hindrance: Callable[[], AbstractContextManager[None]],
) -> None:
    buffer = half_sent()
    with hindrance():
        move_to_files([buffer])
    assert bytes_in_memory([buffer]) == len(ANSWER)
    assert buffer.get() == ANSWER[100_000:]


def test_small_answers_are_left_where_they_are() -> None:
    buffer = OverflowableBuffer(2**20)
    buffer.append(b"small")
    move_to_files([buffer])
    assert (bytes_in_memory([buffer]), buffer.get()) == (0, b"small")
