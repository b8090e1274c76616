from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.api.capacity import disk
from services.api.capacity.disk import BYTES_PER_BODY_BYTE, SMALL_BODY, StorageProbe, UploadDisk, require_disk
from shared.appliance.counters import Counters
from shared.disk import RESERVE_BYTES, RESERVE_INODES, FreeSpace
from shared.errors import BodyTooLargeError, StorageFullError
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from shared.timing import TIMING

MB = 2**20

type Leave = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def uploads(tmp_path: Path) -> UploadDisk:
    return UploadDisk(tmp_path, max_mb=100)


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Leave:
    """Leave so many bytes and inodes of the disk free beyond the reserve."""

    def leave(nbytes: int, inodes: int = 1000) -> None:
        space = FreeSpace(RESERVE_BYTES + nbytes, RESERVE_INODES + inodes, 2**40)
        monkeypatch.setattr(disk, "free_space", lambda folder: folder and space)

    return leave


def test_rows_are_accepted_up_to_the_reserve_and_without_a_limit_in_a_remote_store(
    settings: Settings, leave: Leave
) -> None:
    settings.objects_dir.mkdir()
    with pytest.raises(StorageFullError):  # of the real disk
        require_disk(settings, 2**60)
    leave(1000 * BYTES_PER_BODY_BYTE)
    require_disk(settings, 1000)
    with pytest.raises(StorageFullError, match="MB free") as refused:
        require_disk(settings, 1001)
    assert refused.value.retry_after
    leave(2**40, -1)
    with pytest.raises(StorageFullError, match="inodes"):
        require_disk(settings, 1)
    require_disk(replace(settings, storage_url="s3://bucket"), 2**60)


def test_bodies_share_what_is_free(uploads: UploadDisk, leave: Leave) -> None:
    leave(10 * MB, 2)
    first = uploads.reserve(6 * MB)
    with pytest.raises(StorageFullError):
        uploads.reserve(5 * MB)
    with uploads.reserve(4 * MB):
        with pytest.raises(StorageFullError, match="inodes"):
            uploads.reserve()
        uploads.reserve(SMALL_BODY)  # waits in memory
    for written in range(6):
        leave((10 - written) * MB)
        first.take(MB)
    leave(5 * MB)  # of which the last piece of the first one is still to be written
    with uploads.reserve(4 * MB):
        pass


def test_what_a_body_has_written_is_not_counted_again_nor_one_that_is_gone(
    uploads: UploadDisk, leave: Leave
) -> None:
    unpacked = uploads.reserve()
    for written in range(90):
        leave((90 - written) * MB)
        unpacked.take(MB)
    leave(MB - 1)
    with pytest.raises(StorageFullError):
        unpacked.take(MB)
    leave(MB)
    del unpacked
    gc.collect()
    for _ in range(2):  # each is forgotten at once
        uploads.reserve(MB)


def test_a_body_is_too_large_by_what_it_announces_and_by_what_it_has(tmp_path: Path) -> None:
    uploads = UploadDisk(tmp_path, max_mb=1)
    with pytest.raises(BodyTooLargeError, match="MAX_BODY_MB"):
        uploads.reserve(MB + 1)
    unpacked = uploads.reserve()
    unpacked.take(MB)
    with pytest.raises(BodyTooLargeError):
        unpacked.take(1)


def test_a_store_that_hangs_or_fails_is_a_finding_until_it_works_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters(connect(settings, Patience.STEADY, name="test"))  # which is not there
    probe = StorageProbe(Payloads.open(settings), counters)
    assert probe.fault() == "not probed yet"
    probe.refresh()
    assert probe.fault() is None
    (settings.objects_dir / "probe").mkdir()  # nothing can be written under this name
    probe.refresh()
    assert probe.fault()
    (settings.objects_dir / "probe").rmdir()
    probe.refresh()
    assert probe.fault() is None
    monkeypatch.setattr(disk, "TIMING", replace(TIMING, storage_probe_max_age_seconds=-1.0))
    assert "hangs" in (probe.fault() or "")
