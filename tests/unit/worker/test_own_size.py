from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.worker.exits import OwnSize

MB = 1 << 20
LIMIT = 100 * MB


class Size:
    """The kernel's files about this process."""

    def __init__(self, proc: Path) -> None:
        self._folder = proc / str(os.getpid())
        self._folder.mkdir()

    def be(self, resident_mb: int, pss_mb: int) -> None:
        (self._folder / "status").write_text(f"VmRSS:\t{resident_mb * 1024} kB\n")
        (self._folder / "smaps_rollup").write_text(f"Pss: {pss_mb * 1024} kB\n")


@pytest.fixture
def size(tmp_path: Path) -> Size:
    return Size(tmp_path)


def test_a_process_that_outgrows_its_limit_is_told_at_the_very_next_look(tmp_path: Path, size: Size) -> None:
    own = OwnSize(LIMIT, tmp_path)
    size.be(resident_mb=120, pss_mb=80)
    assert own.outgrown() is None
    size.be(resident_mb=150, pss_mb=110)
    assert own.outgrown() == 110 * MB


def test_what_is_shared_with_others_does_not_count(tmp_path: Path, size: Size) -> None:
    own = OwnSize(LIMIT, tmp_path)
    size.be(resident_mb=150, pss_mb=90)
    assert own.outgrown() is None


def test_a_small_process_needs_no_pss_to_be_read(tmp_path: Path, size: Size) -> None:
    own = OwnSize(LIMIT, tmp_path)
    size.be(resident_mb=90, pss_mb=999)
    assert own.outgrown() is None


def test_the_pss_is_not_read_again_while_the_process_stays_as_it_was(tmp_path: Path, size: Size) -> None:
    own = OwnSize(LIMIT, tmp_path)
    size.be(resident_mb=150, pss_mb=90)
    own.outgrown()
    size.be(resident_mb=155, pss_mb=999)
    assert own.outgrown() is None
    size.be(resident_mb=170, pss_mb=108)
    assert own.outgrown() == 108 * MB
