from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.api.capacity import disk as storage_room
from services.api.capacity.disk import (
    BYTES_PER_BODY_BYTE,
    RESERVE_BYTES,
    StorageProbe,
    free_bytes,
    require_disk,
)
from shared.errors import StorageFullError
from shared.objects.payloads import Payloads
from shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_a_body_is_taken_up_to_what_leaves_the_reserve_and_not_a_byte_beyond(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = RESERVE_BYTES + 1000 * BYTES_PER_BODY_BYTE
    monkeypatch.setattr(storage_room, "free_bytes", lambda _settings: room)
    require_disk(settings, 1000)
    with pytest.raises(StorageFullError) as refused:
        require_disk(settings, 1001)
    assert refused.value.retry_after


def test_a_store_elsewhere_has_no_disk_to_fill(settings: Settings) -> None:
    elsewhere = replace(settings, storage_url="s3://bucket")
    assert free_bytes(elsewhere) is None
    require_disk(elsewhere, 2**60)
    settings.objects_dir.mkdir()
    with pytest.raises(StorageFullError):
        require_disk(settings, 2**60)


def test_a_probe_that_has_not_come_back_for_long_is_a_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = StorageProbe(Payloads.open(settings))
    assert probe.fault() == "not probed yet"
    probe.refresh()
    assert probe.fault() is None
    monkeypatch.setattr(storage_room, "PROBE_MAX_AGE", -1.0)
    assert "hangs" in (probe.fault() or "")


def test_a_store_that_fails_is_a_finding_until_it_works_again(settings: Settings) -> None:
    probe = StorageProbe(Payloads.open(settings))
    probe.refresh()
    (settings.objects_dir / "probe").mkdir()  # nothing can be written under this name
    probe.refresh()
    assert probe.fault()
    (settings.objects_dir / "probe").rmdir()
    probe.refresh()
    assert probe.fault() is None
