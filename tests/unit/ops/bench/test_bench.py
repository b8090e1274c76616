"""The parts that need no service, in their quick form, with and without planted faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.lab.bench import __main__ as bench
from ops.lab.bench import engines, models
from ops.lab.bench.models import Shape, kept
from ops.lab.bench.service import BARE, QUICK, RATE, Measured
from ops.lab.bench.services import FASTAPI, OURS
from ops.lab.bench.timing import Way
from shared.explanation import Explanation, Matrix
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.library import Library

#: Runs the bench with these words; returns exit code, standard output and standard error.
type Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    monkeypatch.setattr(models, "MODELS", tmp_path)
    monkeypatch.setattr(models, "KEPT_TREES", 6)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", *words])
        code = bench.main()
        return code, *capsys.readouterr()

    return run


def test_the_quick_form_measures_all_kernels_beside_xgboost(run: Bench, library: Library) -> None:
    code, out, _ = run("engines", "interventional", "interactions", "errors", "--quick", "--no-peers")
    assert code == 0
    lines = [
        line.split("|") for line in out.splitlines() if line.startswith("| depth 2, 3 trees, 4 features")
    ]
    assert len(lines) == 3 * len(engines.QUICK_ROWS) + 1
    assert all(out.count(f" {kernel.engine} ") >= 4 for kernel in library.kernels())
    assert out.count(" x ") == 2 * len(
        engines.QUICK_ROWS
    )  # shap, which interventional values are compared with, is not here
    assert "is a kernel slower than XGBoost `pred_contribs`" in out


def test_a_smaller_model_is_the_beginning_of_the_one_that_is_kept(run: Bench) -> None:
    del run
    whole, rows = kept(Shape(2, 6, 4))
    few, again = kept(Shape(2, 3, 4))
    np.testing.assert_array_equal(rows, again)
    assert few.get_dump() == whole.get_dump()[:3]
    assert len(list(models.MODELS.iterdir())) == 1


@pytest.mark.parametrize("planted", [0.01, np.nan])
def test_a_wrong_value_fails_the_bench(
    planted: float, run: Bench, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, right_pairs = Explainer.explain, InteractionExplainer.matrices

    def wrong(self: Explainer, rows: Matrix) -> Explanation:
        return Explanation(right(self, rows).array + np.float32(planted))

    def wrong_pairs(self: InteractionExplainer, rows: Matrix, explanation: Explanation) -> Matrix:
        return right_pairs(self, rows, explanation) + np.float32(planted)

    monkeypatch.setattr(Explainer, "explain", wrong)
    monkeypatch.setattr(InteractionExplainer, "matrices", wrong_pairs)
    parts = ("engines", "interventional", "interactions", "errors")
    code, _, err = run(*parts, "--quick", "--no-peers")
    assert code == 1
    for part in parts:
        assert err.count(f"WRONG VALUES: {part}: ") == len(library.kernels())


def test_a_slower_kernel_is_named(run: Bench, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = library.kernels()[-1]

    def timed(explain: Any, rows: Matrix) -> Way:
        """Return seconds that do not depend on the machine.

        Our kernels take 1 µs a row, XGBoost 10, the slow one 20.
        """
        del rows
        kernel = getattr(getattr(explain, "__self__", None), "kernel", None)
        micros = 10.0 if kernel is None else 20.0 if kernel == slow else 1.0
        return lambda count: count * micros * 1e-6

    monkeypatch.setattr(engines, "timed", timed)
    _, out, _ = run("engines", "--quick", "--no-peers")
    named = [line for line in out.splitlines() if line.startswith("- ")]
    assert named == [
        f"- depth 2, 3 trees, 4 features, {rows} rows, {slow.engine}: x 0.5" for rows in engines.QUICK_ROWS
    ]


def measured(**rates: float) -> Measured:
    found = Measured(QUICK, print)
    for name, rate in rates.items():
        found.rounds.setdefault(("many rows", RATE), {})[name] = [rate / 2, rate, rate * 2]
        found.rounds.setdefault(("one row", "ms"), {})[name] = [1 / rate]
    return found


def test_a_peer_that_is_ahead_is_named_and_others_are_not() -> None:
    report = measured(**{OURS: 50.0, FASTAPI: 60.0, BARE: 70.0}).report()
    assert report.lines[0] == ["many rows, rows/s", "50 (25-100)", "60 (30-120)", "70 (35-140)"]
    assert report.summary[0] == ["many rows, rows/s", "50", "FastAPI 60, bare XGBoost 70"]
    assert report.shows.splitlines()[2:] == [
        "- FastAPI, many rows: 60 to 50 rows/s",
        "- FastAPI, one row: 0.0167 to 0.02 ms",
    ]
    assert (
        measured(**{OURS: 50.0, FASTAPI: 40.0}).report().shows == f"No peer is ahead of {OURS} in this table."
    )


def test_without_kernels_or_with_an_unknown_part_nothing_is_measured(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        run("nonsense")
    monkeypatch.setattr(bench, "find_library", lambda: None)
    code, _, err = run("engines")
    assert code == 1
    assert "not built" in err
