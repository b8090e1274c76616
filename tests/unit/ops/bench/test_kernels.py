import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ops.lab.bench import __main__ as bench
from ops.lab.bench import throughput_report, timing
from ops.lab.bench.bodies import WRITERS
from ops.lab.bench.end_to_end import BenchError, EndToEnd, check_values
from ops.lab.bench.throughput import Throughput
from ops.lab.bench.trained import Shape
from services.api.rows.readers import choose_reader
from services.api.rows.row_spec import RowSpec
from shared.models.contract import Feature
from shared.treeshap.library import Library


def test_ways_take_turns_and_each_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.0)
    found = timing.take_turns({"one": lambda: called.append(1), "two": lambda: called.append(2)}, 0.0)
    assert called == [1, 2] * (timing.LEAST_TURNS + 1)
    assert set(found) == {"one", "two"}
    assert 0 < found["one"].low <= found["one"].median <= found["one"].high


def test_the_kernels_are_measured_beside_xgboost_as_a_table(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "bench kernel --depths 2 --trees 3 --features 4 --seconds 0"
    monkeypatch.setattr("sys.argv", words.split())
    assert bench.main() == 0
    lines = capsys.readouterr().out.splitlines()
    head, rule, measured = lines[-3:]
    assert head.count("|") == rule.count("|") == measured.count("|")
    assert measured.startswith("| depth 2, 3 trees, 4 features |")
    assert all(kernel.name in head for kernel in library.kernels())
    assert len(re.findall(r"\*\*x [\d.]+\*\*", measured)) == 2 * len(library.kernels())


def test_interactions_are_measured_beside_xgboosts_as_a_table(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "bench interactions --depths 2 --trees 3 --features 4 --seconds 0"
    monkeypatch.setattr("sys.argv", words.split())
    assert bench.main() == 0
    head, rule, batch, single = capsys.readouterr().out.splitlines()[-4:]
    assert {text.count("|") for text in (head, rule, batch, single)} == {head.count("|")}
    assert batch.startswith("| depth 2, 3 trees, 4 features | 500 |")
    assert single.startswith("| depth 2, 3 trees, 4 features | 1 |")
    for text in (batch, single):
        assert len(re.findall(r"\*\*x [\d.e+]+\*\*", text)) == len(library.kernels()) + 1


def test_without_kernels_there_is_nothing_to_measure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "kernel"])
    monkeypatch.setattr(bench, "find_library", lambda: None)
    assert bench.main() == 1
    assert "not built" in capsys.readouterr().err


@pytest.mark.parametrize("media_type", WRITERS)
def test_a_body_holds_the_rows_that_it_was_written_from(media_type: str) -> None:
    version: Any = SimpleNamespace(id="m@1", features=("a", "b,c", "d"))
    rows = np.array([[1, np.nan, -2.5e-8], [np.nan] * 3, [3, 4, 5]], dtype=np.float32)
    spec = RowSpec(tuple(map(Feature, version.features)), chunk_rows=2, max_rows=3)

    body = io.BytesIO(WRITERS[media_type](version, rows))

    read = np.concatenate(list(choose_reader(media_type).read(body, spec)))
    np.testing.assert_array_equal(read, rows)


def test_a_turns_rate_is_that_of_its_slowest_client_and_stages_are_medians() -> None:
    measured = Throughput(Shape(6, 100, 30), rows=1000, bare=[100.0, 90.0, 110.0])
    measured.turns["text/csv"] = [
        [EndToEnd(500, 1.0, 2.0, 4.0), EndToEnd(500, 1.0, 2.0, 5.0)],
        [EndToEnd(500, 1.0, 2.0, 2.0), EndToEnd(500, 3.0, 3.5, 4.0)],
    ]
    measured.processor["text/csv"] = [{"api": 1.0}, {"api": 3.0}]

    bare, csv = throughput_report.lines(measured)

    assert bare.startswith("| depth 6, 100 trees, 30 features | bare XGBoost processes | 100 (90-110) | 1 |")
    assert csv == "| | CSV | 225 (200-250) | 2.2 | 1.00 s | 2.00 s | 4.00 s | api 2.0 |"
    assert csv.count("|") == bare.count("|") == throughput_report.HEADER.partition("\n")[0].count("|")


def test_the_whole_appliance_is_measured_beside_bare_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "bench throughput --rows 700 --turns 1 --clients 2 --shapes 2x3x4 --types application/x-npy text/csv"
    )
    monkeypatch.setattr("sys.argv", words.split())
    assert bench.main() == 0
    head, rule, bare, npy, csv = capsys.readouterr().out.splitlines()[-5:]
    assert len({line.count("|") for line in (head, rule, bare, npy, csv)}) == 1
    assert re.match(r"\| \| NPY \| [\d,]+ \([\d,]+-[\d,]+\) \| [\d.]+ \|", npy)
    assert "workers" in csv


def test_wrong_values_end_the_measurement() -> None:
    rows = np.ones((3, 5), dtype=np.float32)
    body = io.BytesIO()
    np.save(body, rows)
    check_values("application/x-npy", body.getvalue(), np.array([0, 2]), rows[[0, 2], np.newaxis])
    rows[2, 3] = 2
    with pytest.raises(BenchError, match="1 of 10 values are wrong"):
        check_values("application/x-npy", body.getvalue(), np.array([0, 2]), rows[[0, 2], np.newaxis])
