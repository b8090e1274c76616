import os
from pathlib import Path

import pytest

from shared.cgroup import usable_processors


@pytest.mark.parametrize(("quota", "processors"), [("50000", 1), ("150000", 2), ("900000", 4), ("max", 4)])
def test_processors_are_the_schedulers_unless_the_quota_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, processors: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert usable_processors(tmp_path, tmp_path) == processors


def test_without_a_cgroup_the_scheduler_alone_tells(tmp_path: Path) -> None:
    assert usable_processors(tmp_path, tmp_path) == len(os.sched_getaffinity(0))
