from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.appliance_status import ApplianceStatus

STATUS = ApplianceStatus(
    written_at=1000.0, redis_down_seconds=2.5, fatal_programs=("api",), draining=True, workers_alive=2
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    STATUS.write(tmp_path / "status.json")
    assert ApplianceStatus.read(tmp_path / "status.json") == STATUS
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert ApplianceStatus.read(tmp_path / "status.json") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"written_at": "x", "fatal_programs": []}',
        b'{"written_at": 1, "fatal_programs": [], "unknown": 1}',
        b'{"written_at": 1, "fatal_programs": 3}',
        b"\xff\xfe",
    ],
)
def test_a_corrupt_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert ApplianceStatus.read(tmp_path / "status.json") is None


def test_the_age_is_never_negative() -> None:
    assert STATUS.age(1003.0) == 3.0
    assert STATUS.age(990.0) == 0.0


def test_a_failed_write_raises_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(OSError, match=r"status\.json"):
        STATUS.write(tmp_path / "status.json")
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    STATUS.write(path)
    done = threading.Event()

    def write_on() -> None:
        while not done.is_set():
            STATUS.write(path)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert all(ApplianceStatus.read(path) == STATUS for _ in range(500))
    finally:
        done.set()
        writer.join()
