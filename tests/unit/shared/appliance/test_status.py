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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def test_what_was_written_is_read_and_the_file_has_one_size_for_the_largest_appliance(path: Path) -> None:
    names = ("supervisord", "redis", "monitor", "api", *(f"worker-{number}" for number in range(1, 65)))
    programs = tuple(ProgramStatus(name, "RUNNING", 2**30) for name in names)
    for status in (STATUS, ApplianceStatus(written_at=1e9 + 0.123456, programs=programs)):
        status.write(path)
        assert ApplianceStatus.read(path) == status
        assert path.stat().st_size == FILE_BYTES
        assert [file.name for file in path.parent.iterdir()] == ["status.json"]
    assert (STATUS.age(1003.0), STATUS.age(990.0)) == (3.0, 0.0)


def test_a_missing_or_corrupt_file_is_none_and_another_versions_is_read_as_far_as_it_goes(path: Path) -> None:
    assert ApplianceStatus.read(path) is None
    for content in (
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
    ):
        path.write_bytes(content)
        assert ApplianceStatus.read(path) is None
    path.write_bytes(b'{"written_at": 1, "memory_limit_bytes": 2, "of_tomorrow": {}}')
    assert ApplianceStatus.read(path) == ApplianceStatus(written_at=1.0, memory_limit_bytes=2)


def test_a_failed_write_raises_and_leaves_nothing(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match=r"status\.json"):
        STATUS.write(path)
    assert [file.name for file in path.parent.iterdir()] == ["status.json"]


def test_a_reader_never_sees_half_a_file(path: Path) -> None:
    STATUS.write(path)
    done = threading.Event()

    def write_on() -> None:
        while not done.is_set():
            STATUS.write(path)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert all(ApplianceStatus.read(path) == STATUS for _ in range(300))
    finally:
        done.set()
        writer.join()
