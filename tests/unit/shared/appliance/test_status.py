from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.appliance.status import FILE_BYTES, ApplianceStatus, ProgramStatus

STATUS = ApplianceStatus(
    written_at=1000.0,
    redis_down_seconds=2.5,
    fatal_programs=("api",),
    draining=True,
    memory_limit_bytes=2,
    memory_source="cgroup",
    programs=(ProgramStatus("api", "FATAL", 5), ProgramStatus("worker-1", "RUNNING")),
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    STATUS.write(tmp_path / "status.json")
    assert ApplianceStatus.read(tmp_path / "status.json") == STATUS
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]
    assert (STATUS.age(1003.0), STATUS.age(990.0)) == (3.0, 0.0)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"written_at": "x", "fatal_programs": []}',
        b'{"written_at": 1, "programs": [["api"]]}',
        b'{"written_at": 1, "programs": 3}',
        b'{"written_at": 1, "fatal_programs": 3}',
        b"\xff\xfe",
    ],
)
def test_a_missing_or_corrupt_file_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "status.json").write_bytes(content)
    assert ApplianceStatus.read(tmp_path / "status.json") is None


def test_the_file_of_another_version_is_read_as_far_as_it_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(b'{"written_at": 1, "memory_limit_bytes": 2, "of_tomorrow": {}}')
    assert ApplianceStatus.read(path) == ApplianceStatus(written_at=1.0, memory_limit_bytes=2)


def test_the_file_has_one_size_for_the_largest_appliance(tmp_path: Path) -> None:
    names = ("supervisord", "redis", "monitor", "api", *(f"worker-{number}" for number in range(1, 65)))
    programs = tuple(ProgramStatus(name, "RUNNING", 2**30) for name in names)
    for status in (STATUS, ApplianceStatus(written_at=1e9 + 0.123456, programs=programs)):
        status.write(tmp_path / "status.json")
        assert (tmp_path / "status.json").stat().st_size == FILE_BYTES
        assert ApplianceStatus.read(tmp_path / "status.json") == status


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
