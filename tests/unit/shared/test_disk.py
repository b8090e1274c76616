from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from shared.disk import RESERVE_BYTES, RESERVE_INODES, FreeSpace, free_space

if TYPE_CHECKING:
    from pathlib import Path

MB = 2**20


def test_a_folder_has_the_free_space_of_its_disk(tmp_path: Path) -> None:
    space = free_space(tmp_path)
    assert space is not None
    assert 0 < space.bytes < space.capacity_bytes


def test_without_a_folder_the_free_space_is_unknown(tmp_path: Path) -> None:
    assert free_space(tmp_path / "missing") is None
    assert free_space(None) is None


@pytest.mark.parametrize(("files", "inodes"), [(0, None), (1000, 70)])
def test_only_what_others_than_root_may_use_counts_and_inodes_may_have_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, inodes: int | None
) -> None:
    disk = SimpleNamespace(
        f_frsize=4096,
        f_bsize=2**20,
        f_blocks=100,
        f_bfree=60,
        f_bavail=50,
        f_files=files,
        f_ffree=80,
        f_favail=70,
    )
    monkeypatch.setattr(os, "statvfs", lambda _folder: disk)
    assert free_space(tmp_path) == FreeSpace(50 * 4096, inodes, 100 * 4096)


@pytest.mark.parametrize(
    ("lacking_bytes", "lacking_inodes", "shortage"),
    [
        (0, 0, None),
        (1, 0, "The disk has 73 MB free, but 74 MB are needed."),
        (0, 1, "The disk has 518 free inodes, but 519 are needed."),
        (1, 1, "The disk has 73 MB free, but 74 MB are needed."),
    ],
)
def test_what_is_needed_and_the_reserve_must_be_free(
    lacking_bytes: int, lacking_inodes: int, shortage: str | None
) -> None:
    space = FreeSpace(RESERVE_BYTES + 10 * MB - lacking_bytes, RESERVE_INODES + 7 - lacking_inodes, 2**40)
    assert space.shortage(10 * MB, 7) == shortage


def test_a_disk_without_a_limit_of_inodes_never_lacks_them() -> None:
    space = FreeSpace(RESERVE_BYTES, None, 2**40)
    assert space.shortage(needed_inodes=10**9) is None
    assert space.shortage(needed_bytes=1) is not None
