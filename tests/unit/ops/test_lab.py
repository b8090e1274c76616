"""The kernel of the lab: comparison, planned jobs, the ledger, memory's trend."""

from __future__ import annotations

import argparse
import csv
import io
import random
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pytest

from ops.lab.chaos.__main__ import MIXTURE
from ops.lab.chaos.plan import (
    PROGRAM_PARTS,
    SIGNAL_PARTS,
    SURROUNDING_PARTS,
    Surrounding,
    has_pair,
    plan_faults,
)
from ops.lab.load import Ledger
from ops.lab.memory import MB
from ops.lab.reference import EXACT, Matrix, compare, distance, example_rows
from ops.lab.report import number_from_environment, verdict
from ops.lab.rows import Form, PlannedJob, RowPool, planned_jobs
from ops.lab.trend import WHOLE, Point, Samples, judge
from shared.build import ROOT
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog

MODELS = ["breast-cancer@1", "wine@1"]
PLANNED = PlannedJob("key", "wine@1", 7, 5)
WANTED = np.random.default_rng(1).normal(size=(40, 2, 5)).astype(np.float32)


def change(where: Any, value: Any) -> Matrix:
    given = WANTED.copy()
    given[where] = value
    return given


@pytest.mark.parametrize(
    ("given", "wrong", "said"),
    [
        (WANTED, 0, ""),
        (change((17, 1, 3), 9.0), 1, "1 rows are wrong; row 17, column 3, output 1 is 9.0, not "),
        (change([3, 9], WANTED[[9, 3]]), 2, "it has the values of row 9"),
        (change(slice(5, 8), 0.0), 3, "row 5, column 0, output 0 is 0.0"),
        (change((0, 0, 0), np.nan), 1, "row 0, column 0, output 0 is nan"),
        (WANTED[:30], 40, "the shape (30, 2, 5), not (40, 2, 5)"),
        (WANTED[:, :, :-1], 40, "values have the shape (40, 2, 4), not (40, 2, 5)"),
    ],
    ids=["right", "wrong", "misplaced", "blank", "nan", "missing rows", "missing column"],
)
def test_each_way_to_be_wrong_is_counted_and_named(given: Matrix, wrong: int, said: str) -> None:
    found = compare(given, WANTED)
    assert found.wrong == wrong
    assert said in found.said


@pytest.mark.parametrize("base", [0.0, 150.0])
def test_the_size_of_a_row_is_that_of_its_values_and_hardly_that_of_its_base_value(base: float) -> None:
    row = np.array([[[20.0, -30.0, 1.0, base]]], np.float32)
    for off, exact in ((1e-4, True), (1e-3, False)):
        changed = row + np.array([off, 0, 0, 0], np.float32)
        assert (distance(changed, row) <= EXACT) is exact
        assert (distance(changed[..., :3], row[..., :3], base=False) <= EXACT) is exact
    # Float32 can tell no less from a base value than this.
    assert distance(row + np.spacing(np.array([0, 0, 0, base], np.float32)), row) <= EXACT
    assert distance(np.full_like(row, np.nan), row) == np.inf


@pytest.mark.parametrize("seed", [1, 2])
def test_five_minutes_meet_every_target_and_kind_and_a_shorter_run_begins_alike(seed: int) -> None:
    plan = plan_faults(seed, 300)
    missing = {"redis", Surrounding.POWER} if has_pair(seed) else {Surrounding.FAILOVER}
    assert {fault.target for fault in plan} == {*PROGRAM_PARTS, *SURROUNDING_PARTS} - missing
    assert {fault.signal for fault in plan} == {*SIGNAL_PARTS, None}
    assert sum(fault.pause + fault.seconds for fault in plan) >= 300
    assert plan[: len(plan_faults(seed, 60))] == plan_faults(seed, 60)
    assert plan != plan_faults(seed + 1, 300)


def test_a_seed_repeats_jobs_of_every_size_model_form_and_method() -> None:
    many = list(islice(planned_jobs(MODELS, MIXTURE, "1"), 1000))
    assert many[:50] == list(islice(planned_jobs(MODELS, MIXTURE, "1"), 50))
    assert many[:50] != list(islice(planned_jobs(MODELS, MIXTURE, "2"), 50))
    for least, most, _ in MIXTURE.sizes:
        assert any(least <= planned.rows <= most for planned in many)
    assert {planned.model for planned in many} == set(MODELS)
    assert {planned.form for planned in many} == set(Form)
    assert {planned.method for planned in many} == set(Method)
    assert any(planned.again for planned in many)
    assert any(planned.cancel_after is not None for planned in many)
    assert all(0 <= planned.first <= planned.first + planned.rows <= 12_000 for planned in many)


def test_a_body_holds_the_same_rows_in_each_form() -> None:
    version = ModelCatalog.load(ROOT / "models").get("wine")
    pool = RowPool(version, example_rows(version, 40))
    as_json = orjson.loads(pool.body(replace(PLANNED, form=Form.JSON)))
    lines = list(csv.reader(io.StringIO(pool.body(replace(PLANNED, form=Form.CSV)).decode())))
    for rows in (np.load(io.BytesIO(pool.body(PLANNED))), as_json["rows"], lines[1:]):
        np.testing.assert_array_equal(np.array(rows, dtype=np.float32), pool.rows[7:12])
    assert lines[0] == list(pool.version.features)
    assert (as_json["model"], as_json["method"]) == ("wine@1", Method.TREE_PATH_DEPENDENT)


def test_the_same_job_for_two_keys_is_a_finding() -> None:
    ledger = Ledger()
    assert ledger.accept("a", PLANNED) is ledger.accept("a", PLANNED)
    assert not ledger.findings
    ledger.accept("a", replace(PLANNED, key="other"))
    assert verdict(ledger.findings) == "FAILED:\n\n- doubled: a key and other were told the same job"
    assert verdict([]) == "Passed."


def series(growth_mb: float, first: int = 0, last: int = 3600) -> list[Point]:
    """Every 5 s: 60 MB and a line, with noise and a peak now and then."""
    chance = random.Random(1)
    sizes = {
        t: 60 + growth_mb * (t - first) / 3600 + chance.gauss(0, 1) + 40 * (chance.random() < 0.1)
        for t in range(first, last + 1, 5)
    }
    return [(float(t), round(MB * size)) for t, size in sizes.items()]


@pytest.mark.parametrize(
    ("points", "fault", "remark"),
    [
        ({("api", 1): series(2)}, None, None),
        ({("api", 1): [(t, size + round(min(t, 290) * MB)) for t, size in series(0)]}, None, None),
        ({("api", 1): series(9)}, "api grows by", None),
        ({("worker-1", 1): series(60)}, "worker-1 grows by", None),
        (
            {("worker-1", 1): series(60, 0, 1800), ("worker-1", 2): series(60, 1805)},
            None,
            "its recycle bounds it (2 runs",
        ),
        ({("worker-1", 1): series(0, 0, 3000), ("worker-1", 2): series(900, 3005)}, None, None),
        ({(WHOLE, 0): series(0, 0, 1500)}, "the samples end after 25.0 minutes", None),
        ({(WHOLE, 0): series(0, 0, 600), ("api", 1): series(90, 0, 600)}, "samples end", "not judged"),
    ],
    ids=["steady", "warm-up", "grows", "worker", "recycled", "young", "ends early", "short"],
)
def test_memory_that_grows_is_a_fault_after_the_warm_up_and_for_each_process_alone(
    points: dict[tuple[str, int], list[Point]], fault: str | None, remark: str | None
) -> None:
    faults, remarks = judge(Samples(60, {(WHOLE, 0): series(0), **points}))
    assert (fault in faults[0]) if fault else not faults
    assert (remark in remarks[0]) if remark else not remarks


@pytest.mark.parametrize(
    ("text", "number"), [("", 60), ("0.5", 0.5), ("0", None), ("-1", None), ("inf", None), ("x", None)]
)
def test_a_setting_is_a_positive_number(
    monkeypatch: pytest.MonkeyPatch, text: str, number: float | None
) -> None:
    monkeypatch.setenv("MINUTES", text)
    parser = argparse.ArgumentParser()
    if number is not None:
        assert number_from_environment(parser, "MINUTES", 60) == number
    else:
        with pytest.raises(SystemExit):
            number_from_environment(parser, "MINUTES", 60)
