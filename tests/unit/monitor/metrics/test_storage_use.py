from __future__ import annotations

from pathlib import Path

import pytest

from services.monitor.metrics import storage_use
from services.monitor.metrics.storage_use import StorageUse, folder_bytes


def test_all_files_below_the_folder_are_counted(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "a" / "input").mkdir(parents=True)
    (tmp_path / "jobs" / "a" / "input" / "000000.npy").write_bytes(b"x" * 1000)
    (tmp_path / "probe").write_bytes(b"x" * 24)
    assert folder_bytes(tmp_path) == 1024


def test_a_missing_folder_takes_nothing(tmp_path: Path) -> None:
    assert folder_bytes(tmp_path / "none") == 0


def test_a_slow_walk_is_not_repeated_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_use, "WALK_SHARE", 1e-9)
    use = StorageUse(tmp_path)
    use.step()
    (tmp_path / "new").write_bytes(b"x")
    use.step()
    assert use.used == 0


def test_a_store_on_another_machine_is_not_walked() -> None:
    use = StorageUse(None)
    use.step()
    assert use.used is None
