import re

import pytest

from ops.bench import __main__ as bench
from ops.bench import timing
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


def test_without_kernels_there_is_nothing_to_measure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "kernel"])
    monkeypatch.setattr(bench, "find_library", lambda: None)
    assert bench.main() == 1
    assert "not built" in capsys.readouterr().err
