from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.disk import RESERVE_BYTES, RESERVE_INODES, FreeSpace, free_space

MB = 2**20


def test_a_folder_has_the_free_space_of_its_disk_and_no_folder_an_unknown_one(tmp_path: Path) -> None:
    space = free_space(tmp_path)
    assert space is not None
    assert 0 < space.bytes < space.capacity_bytes
    assert free_space(tmp_path / "missing") is free_space(None) is None


@pytest.mark.parametrize(("files", "inodes"), [(0, None), (1000, 70)])
def test_only_what_others_than_root_may_use_counts_and_inodes_may_have_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, inodes: int | None
) -> None:
    sizes = {"f_frsize": 4096, "f_bsize": 2**20, "f_blocks": 100, "f_bfree": 60, "f_bavail": 50}
    disk = SimpleNamespace(**sizes, f_files=files, f_ffree=80, f_favail=70)
    monkeypatch.setattr(os, "statvfs", lambda _folder: disk)
    assert free_space(tmp_path) == FreeSpace(50 * 4096, inodes, 100 * 4096)


def test_what_is_needed_and_the_reserve_must_be_free() -> None:
    bytes_short = "The disk has 73 MB free, but 74 MB are needed."
    inodes_short = "The disk has 518 free inodes, but 519 are needed."
    for lacking, shortage in (
        ((0, 0), None),
        ((1, 0), bytes_short),
        ((0, 1), inodes_short),
        ((1, 1), bytes_short),
    ):
        space = FreeSpace(RESERVE_BYTES + 10 * MB - lacking[0], RESERVE_INODES + 7 - lacking[1], 2**40)
        assert space.shortage(10 * MB, 7) == shortage
    unlimited = FreeSpace(RESERVE_BYTES, None, 2**40)
    assert unlimited.shortage(needed_inodes=10**9) is None
    assert unlimited.shortage(needed_bytes=1) is not None
