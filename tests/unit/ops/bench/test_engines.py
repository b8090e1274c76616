import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ops.lab.bench import __main__ as bench
from ops.lab.bench import against_background, engines, parts, trained
from ops.lab.bench.cells import Found
from ops.lab.bench.engine_report import our_names, wrong_values
from ops.lab.bench.trained import Shape, kept
from shared.explanation import Explanation, Matrix
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import Library


@pytest.fixture(autouse=True)
def _own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "MODELS", tmp_path)
    monkeypatch.setattr(trained, "KEPT_TREES", 6)


def test_a_smaller_model_is_the_beginning_of_the_one_that_is_kept() -> None:
    whole, rows = kept(Shape(2, 6, 4))
    few, again = kept(Shape(2, 3, 4))
    np.testing.assert_array_equal(rows, again)
    assert few.num_boosted_rounds() == 3
    assert few.get_dump() == whole.get_dump()[:3]
    assert len(list(trained.MODELS.iterdir())) == 1


def test_the_quick_form_measures_all_kernels_beside_xgboost(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "engines", "errors", "--quick", "--no-peers"])
    assert bench.main() == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| depth 2, 3 trees, 4 features |")]
    assert len(lines) == len(parts.QUICK_ENGINES.rows) + 1
    assert all(kernel.engine in printed for kernel in library.kernels())
    assert re.search(r"\*\*x [\d.,]+\*\*", lines[0])
    assert "slower than XGBoost" in printed
    assert "error is larger than XGBoost's" in printed or "Larger than XGBoost's" in printed


def test_the_quick_form_measures_interventional_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "interventional", "--quick", "--no-peers"])
    assert bench.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("| depth 2, 3 trees, 4 features | 10 ") == len(parts.QUICK_BACKGROUND.rows)
    assert "not installed" in printed


def test_lines_have_time_for_figures_when_earlier_ones_took_it_all(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def note(ways: object, rows: int, seconds: float) -> dict[str, Found]:
        del ways, rows
        given.append(seconds)
        return {}

    monkeypatch.setattr(engines, "fill_cells", note)
    list(
        engines.measure_engines(
            replace(parts.QUICK_ENGINES, peers=False, seconds=0.0, least_seconds=2.0), library, print
        )
    )
    assert given == [2.0] * len(parts.QUICK_ENGINES.rows)


def test_interventional_values_that_are_not_shaps_are_noticed() -> None:
    line = against_background.Line(Shape(2, 3, 4), 10, 1, 0.0, {}, {"shap": 0.0, "compiled-portable": 0.1})
    assert against_background.wrong_values([line]) == [
        "depth 2, 3 trees, 4 features, 10 background rows, compiled-portable: 1.0e-01 apart"
    ]


def test_a_wrong_value_fails_the_bench(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = Explainer.explain

    def wrong(self: Explainer, rows: Matrix) -> Explanation:
        return Explanation(right(self, rows).array + np.float32(0.01))

    monkeypatch.setattr(Explainer, "explain", wrong)
    plan = replace(parts.QUICK_ENGINES, peers=False, seconds=0.0)
    lines = list(engines.measure_engines(plan, library, print))
    assert len(wrong_values(lines)) == len(our_names(lines))
    monkeypatch.setattr("sys.argv", ["bench", "engines", "--quick", "--no-peers"])
    assert bench.main() == 1
    assert "WRONG VALUES" in capsys.readouterr().err


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "nonsense"])
    with pytest.raises(SystemExit):
        bench.main()
