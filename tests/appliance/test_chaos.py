"""A short chaos run loses and doubles nothing, and sees what is then lost or altered."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ops.lab.chaos import __main__ as chaos
from ops.lab.chaos.audit import audit
from ops.lab.load import Load
from ops.lab.rows import Mixture
from shared.appliance.counters import Counters
from shared.jobs.store import JobStore
from shared.metrics import ROWS_EXPLAINED

#: A seed whose first faults are a jump of the clock, a stop of the api, a power cut, kills of the api and of a worker, and a
#: full disk.
SEED, SECONDS = 183637, 10
#: Jobs of up to some batches, and few clients: it is the faults that matter.
MIXTURE = Mixture(
    ((1, 1, 30), (2, 500, 35), (501, 3_000, 35)), interventional=0.04, again=0.1, cancelled=0.06
)
#: More rows than those of cancelled jobs, of which nobody can know whether they were counted.
COUNTED_TWICE = 1_000_000


def test_a_chaos_run_loses_nothing_and_sees_a_lost_result_a_wrong_order_and_a_batch_recorded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound: list[object] = []

    def audit_damage_and_audit(
        load: Load, store: JobStore, counters: Counters, progress: Callable[[str], None]
    ) -> None:
        audit(load, store, counters, progress)
        sound.extend(load.ledger.findings)
        assert load.ledger.counts["rows_checked"] > 500
        damage(tmp_path, load, counters)
        audit(load, store, counters, progress)

    monkeypatch.setattr(chaos, "audit", audit_damage_and_audit)
    monkeypatch.setattr(chaos, "MIXTURE", MIXTURE)
    monkeypatch.setattr(chaos, "CLIENTS", 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["chaos"])
    monkeypatch.setenv("CHAOS_SECONDS", str(SECONDS))
    monkeypatch.setenv("CHAOS_SEED", str(SEED))
    code, said = chaos.main(), capsys.readouterr()
    assert not sound
    assert code == 1, said.out + said.err
    assert f"seed {SEED}, {SECONDS} s" in said.out
    assert "faults: FAILED" in said.out
    found = Counter(line.partition(":")[0] for line in said.out.splitlines() if line.startswith("- "))
    del found["- unexpected"]  # the answer for the lost result, unless it is "not now"
    assert found == {"- lost": 1, "- wrong": 2, "- miscounted": 1}, said.out
    assert "its data and log stay in" in said.err


def damage(folder: Path, load: Load, counters: Counters) -> None:
    """Lose a result of the appliance, and alter two others, behind its back."""
    sizes = Counter({entry.id: entry.planned.rows for entry in load.ledger.entries("completed")})
    lost, altered, turned = (
        next(folder.glob(f"shapbox-chaos-*/**/objects/jobs/{job_id}/result/*.npy"))
        for job_id, _ in sizes.most_common(3)
    )
    lost.unlink()
    np.save(altered, np.load(altered) + 1)
    np.save(turned, np.load(turned)[::-1])
    counters.add(ROWS_EXPLAINED, "wine@1", amount=COUNTED_TWICE)
    counters.flush()
