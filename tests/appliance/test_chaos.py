"""A short seeded chaos run, and proof that one in which something is lost or altered fails."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ops.lab.chaos.__main__ import main
from ops.lab.chaos.audit import Audit, Auditor
from shared.metrics import ROWS_EXPLAINED

#: A seed whose first faults kill the api, workers, the monitor and Redis within eleven seconds.
SEED, SECONDS = 4938, 12
#: More rows than those of cancelled jobs, of which nobody can know whether they were counted.
COUNTED_TWICE = 1_000_000

Chaos = Callable[[], int]


@pytest.fixture
def chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chaos:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["chaos"])
    monkeypatch.setenv("CHAOS_SECONDS", str(SECONDS))
    monkeypatch.setenv("CHAOS_SEED", str(SEED))
    return main


def count(table: str, what: str) -> int:
    found = re.search(rf"^\| {re.escape(what)} *\| *([\d,]+)", table, re.MULTILINE)
    assert found, f"no line {what!r} in:\n{table}"
    return int(found[1].replace(",", ""))


def test_a_short_chaos_run_loses_and_doubles_nothing(
    chaos: Chaos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = chaos(), capsys.readouterr()
    assert code == 0, said.out + said.err
    assert f"seed {SEED}, {SECONDS} s of faults: passed" in said.out
    assert count(said.out, "jobs accepted") > 5
    assert count(said.out, "rows checked against XGBoost") > 500
    struck = re.search(r"^\| all .*\| (\d+) +\|$", said.out, re.MULTILINE)
    assert struck
    assert int(struck[1]) > 0  # how many of the planned six there is time for depends on the machine
    assert not list(tmp_path.glob("shapbox-chaos-*"))


def test_a_chaos_run_sees_a_lost_result_a_wrong_order_and_a_batch_recorded_twice(
    chaos: Chaos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = Auditor.audit

    def damage_and_audit(auditor: Auditor, progress: Callable[[str], None]) -> Audit:
        """Damage what the appliance stores, behind its back."""
        sizes = Counter({entry.id: entry.planned.rows for entry in auditor.load.ledger.entries()})
        results = [
            file
            for job_id, _ in sizes.most_common()
            for file in tmp_path.glob(f"shapbox-chaos-*/data/objects/jobs/{job_id}/result/*.npy")
        ]
        results[0].unlink()
        np.save(results[-1], np.load(results[-1])[::-1] + 1)
        other = next(file for file in results if file.parent != results[0].parent)
        np.save(other, np.load(other)[::-1])
        auditor.counters.add(ROWS_EXPLAINED, "wine@1", amount=COUNTED_TWICE)
        auditor.counters.flush()
        return audit(auditor, progress)

    monkeypatch.setattr(Auditor, "audit", damage_and_audit)
    code, said = chaos(), capsys.readouterr()
    assert code == 1, said.out + said.err
    assert "s of faults: FAILED" in said.out
    assert count(said.out, "jobs lost: gone, failed, or without a result") > 0, said.out
    assert count(said.out, "results with wrong values") == 2, said.out
    assert count(said.out, "rows missing") > 0, said.out
    assert count(said.out, "rows duplicated or misplaced") > 0, said.out
    assert count(said.out, "rows_explained_total is not what was recorded") == 1, said.out
    assert "its data and log stay in" in said.err
