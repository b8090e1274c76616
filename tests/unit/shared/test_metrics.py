"""Metrics are named in one place, with which the Lua scripts agree."""

from __future__ import annotations

import re
from importlib import resources

from shared import metrics
from shared.build import ROOT
from shared.jobs import keys
from shared.metrics import METRICS, MetricKind

LUA = [
    path for path in resources.files("shared.jobs").joinpath("lua").iterdir() if path.name.endswith(".lua")
]


def fields(script: str) -> set[tuple[str, bool]]:
    """Return the counters that a script writes: name, and whether a label follows."""
    written = re.findall(r"'HINCRBY', 'shapbox:counters', '([a-z_]+)(\|?)'", script)
    written += re.findall(r"\['shapbox:counters'\] = '([a-z_]+)(\|?)'", script)
    return {(name, bool(bar)) for name, bar in written}


def test_names_are_unique_and_end_as_prometheus_wants() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"[a-z_]+", metric.name)
        assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER), metric.name
        assert metric.name.endswith("_seconds") or metric.kind is not MetricKind.HISTOGRAM, metric.name
        assert metric.help[0].isupper() or metric.help[0].isdigit() or metric.help.startswith("PSS")
        assert metric.help.endswith(".")
        assert not metric.known or len(metric.labels) == 1


def test_the_scripts_write_metrics_that_are_defined_and_with_their_labels() -> None:
    found = set().union(*(fields(path.read_text(encoding="utf-8")) for path in LUA))
    by_scripts = (metrics.JOBS, metrics.ROWS_EXPLAINED, metrics.BATCHES_POISONED, metrics.LARGEST_RESIDUAL)
    assert found == {(metric.name, bool(metric.labels)) for metric in by_scripts}
    assert any(keys.COUNTERS in path.read_text(encoding="utf-8") for path in LUA)


def test_no_other_module_spells_out_what_processes_count() -> None:
    counted = (MetricKind.COUNTER, MetricKind.HISTOGRAM)
    written = re.compile("|".join(rf'"{metric.name}["|]' for metric in METRICS if metric.kind in counted))
    for folder in ("services", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != ROOT / "shared" / "metrics.py":
                assert not written.findall(path.read_text(encoding="utf-8")), path
