"""The bench in its quick form, without peers and services, with and without planted faults."""

import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.lab.bench import __main__ as bench
from ops.lab.bench import engines, libraries, models, timing
from ops.lab.bench.libraries import LibraryProcess, peer_python
from ops.lab.bench.report import PAGE, BenchError, Report, write
from ops.lab.bench.service import QUICK, RATE, Measured
from ops.lab.bench.services import FASTAPI, JSON, OURS, Service
from ops.lab.bench.timing import Cell, Way, WayError, cell_text, fill_cells, rows_that_fit
from shared.explanation import Explanation, Matrix
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.library import Library

#: Runs the bench with these words; returns exit code, standard output and standard error.
type Bench = Callable[..., tuple[int, str, str]]
#: The parts that explain in this process.
PARTS = ("engines", "interventional", "interactions")
#: A library's program as the bench talks to it: it answers, fails, dies or dawdles as it is told.
PROGRAM = """
import json, sys, time
for line in sys.stdin:
    rows = json.loads(line)["rows"]
    if rows == 3:
        sys.exit(1)
    if rows == 4:
        time.sleep(60)
    print(json.dumps({"seconds": 0.25} if rows == 1 else {"fault": "MemoryError: no room"}), flush=True)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    monkeypatch.setattr(models, "MODELS", tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", *words])
        code = bench.main()
        return code, *capsys.readouterr()

    return run


def test_the_quick_form_measures_all_kernels_beside_xgboost(run: Bench, library: Library) -> None:
    code, out, _ = run(*PARTS, "--quick", "--no-peers")
    assert code == 0
    assert out.count("| depth 2, 3 trees, 4 features") == 3 * len(engines.QUICK_ROWS)
    assert all(out.count(f" {kernel.engine} ") >= 3 for kernel in library.kernels())
    # shap, to which ratios of interventional values are, is not here
    assert out.count(" x ") == 2 * len(engines.QUICK_ROWS)
    assert "is a kernel slower than XGBoost `pred_contribs`" in out


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
    code, _, err = run(*PARTS, "--quick", "--no-peers")
    assert code == 1
    for part in PARTS:
        assert err.count(f"WRONG VALUES: {part}: ") == len(library.kernels())


def test_a_slower_kernel_is_named(run: Bench, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = library.kernels()[-1]
    micros = iter([10.0, *[1.0] * (len(library.kernels()) - 1), 20.0, 1.0])  # XGBoost, kernels, `predict`

    def timed(explain: Any, rows: Matrix) -> Way:
        """Return seconds that do not depend on the machine."""
        assert timing.timed(explain, rows)(1) > 0
        each = next(micros)
        return lambda count: count * each * 1e-6

    monkeypatch.setattr("ops.lab.bench.comparison.timed", timed)
    _, out, _ = run("engines", "--quick", "--no-peers")
    named = [line for line in out.splitlines() if line.startswith("- ")]
    assert named == [
        f"- depth 2, 3 trees, 4 features, {rows} rows, {slow.engine}: x 0.5" for rows in engines.QUICK_ROWS
    ]


def test_without_kernels_or_with_an_unknown_part_nothing_is_measured(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        run("nonsense")
    monkeypatch.setattr(bench, "find_library", lambda: None)
    code, _, err = run("engines")
    assert code == 1
    assert "not built" in err


def test_a_peer_that_is_ahead_is_named() -> None:
    found = Measured(QUICK, print)
    for name, rate in {OURS: 50.0, FASTAPI: 60.0}.items():
        found.rounds.setdefault(("many rows", RATE), {})[name] = [rate / 2, rate, rate * 2]
        found.rounds.setdefault(("one row", "ms"), {})[name] = [rate]
    report = found.report()
    assert report.lines[0] == ["many rows, rows/s", "50 (25-100)", "60 (30-120)"]
    assert report.summary[0] == ["many rows, rows/s", "50", "FastAPI 60"]
    assert report.shows.splitlines()[2:] == ["- FastAPI, many rows: 60 to 50 rows/s"]


def test_figures_are_put_in_their_places_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(PAGE.read_text())
    report = Report(["model", "µs"], [["a, b", "1"]], [["rate", "7", "peer 5"]], "Nothing.", [])
    write(page, dict.fromkeys(bench.PARTS, ("Some CPU.", report)))
    text = page.read_text()
    for name in bench.PARTS:
        assert f"| [{name}](#{name})" in text
        assert f"Some CPU. All figures: [{name}.csv](benchmarks/{name}.csv).\n\nNothing.\n" in text
        assert (tmp_path / "benchmarks" / f"{name}.csv").read_text() == 'model,µs\n"a, b",1\n'
    assert text.partition("## Other")[2] == PAGE.read_text().partition("## Other")[2]
    with pytest.raises(BenchError, match="needs one"):
        write(page, {"unknown": ("", report)})
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("a_row", "a_call", "rows", "fit"),
    [
        (1e-6, 0.0, 100_000, 100_000),
        (3e-3, 0.0, 100_000, 100),
        (1e-6, 5.0, 100_000, 100_000),  # a costly beginning does not make rows costly
        (60.0, 0.0, 500, 1),  # one row is measured however slow it is
    ],
)
def test_as_many_rows_are_taken_as_fit(a_row: float, a_call: float, rows: int, fit: int) -> None:
    assert rows_that_fit(lambda count: a_call + a_row * count, rows, 1.0) == fit


@pytest.mark.parametrize("good_calls", [0, 1, 3])
def test_a_way_that_fails_says_why_and_the_others_are_measured(good_calls: int) -> None:
    left = iter(range(good_calls))

    def failing(_: int) -> float:
        if next(left, None) is None:
            raise WayError("its process ended")
        return 0.01

    found = fill_cells({"failing": failing, "well": lambda count: 0.01 * count}, 100, 0.1)
    assert cell_text(found["failing"], 100) == "its process ended"
    assert isinstance(found["well"], Cell)
    assert cell_text(found["well"], 100) == "10,000 (10,000-10,000) on 1"


@pytest.mark.parametrize(
    ("rows", "patience", "said"),
    [(2, 30.0, "no room"), (3, 30.0, "its process ended"), (4, 0.2, "> 0 s")],
)
def test_a_library_that_fails_dies_or_dawdles_says_why_and_is_ended(
    rows: int, patience: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine_program.py").write_text(PROGRAM)
    monkeypatch.setattr(libraries, "PEERS", tmp_path)
    library = LibraryProcess("shap", sys.executable)
    assert library.way(30.0)(1) == 0.25
    with pytest.raises(WayError, match=said):
        library.way(patience)(rows)
    assert library.process.wait(30) is not None
    with pytest.raises(WayError, match="its process ended"):
        library.way(30.0)(1)


def test_an_environment_without_a_fitting_python_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(libraries, "PYTHONS", {"mlserver": "1.0"})
    said: list[str] = []
    assert peer_python("mlserver", said.append) is None
    assert said[-1].startswith("mlserver is left out")


def test_a_service_that_closes_the_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        service = Service("peer", server.getsockname()[1], "/", (JSON,), lambda: 0)
        with closing(service.connect()) as connection:
            server.accept()[0].close()
            with pytest.raises(BenchError, match="peer did not answer"):
                service.ask(connection, JSON, b"{}")
