"""A short soak passes, and one that leaks does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.lab import soak
from ops.lab.rows import Mixture
from tests.support.faults.placing import startup_path

#: Small jobs without shap's memory, and a limit that some dozens of leaking batches reach and sound ones do not.
SMALL = Mixture(((2, 50, 1),))
LIMIT = {"WORKER_MEMORY_LIMIT_MB": "60"}


@pytest.fixture(autouse=True)
def _few_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "JOB_CLIENTS", 2)


def test_a_short_soak_passes_and_leaves_its_report(tmp_path: Path) -> None:
    code = soak.soak(0.1, tmp_path, SMALL, LIMIT)
    text = (tmp_path / "soak.md").read_text()
    assert code == 0, text
    assert {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")} == {
        *("MB", "api", "monitor", "redis", "supervisord", "worker-1", "worker-2", "working set")
    }
    assert "Passed." in text
    assert " 0 single rows" not in text
    assert len((tmp_path / "soak.csv").read_text().splitlines()) > 10


def test_a_soak_sees_a_leak_of_one_mb_per_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", startup_path())
    monkeypatch.setenv("SHAPBOX_TEST_LEAK_MB", "1")
    assert soak.soak(0.25, tmp_path, SMALL, LIMIT) == 1
    assert "something leaks" in (tmp_path / "soak.md").read_text()
