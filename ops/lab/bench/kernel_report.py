"""The kernels' figures as a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ops.lab.bench.kernels import BATCH, CONTRIBUTIONS, PREDICTIONS, SINGLE, Measured

#: Column titles that differ from a way's own name.
TITLES = {CONTRIBUTIONS: "XGBoost `pred_contribs`", PREDICTIONS: "XGBoost `predict`"}


def header(kernels: Sequence[str]) -> str:
    """Return the table's first two lines."""
    ways = [*(TITLES[way] for way in (CONTRIBUTIONS, PREDICTIONS)), *kernels]
    cells = ["model", *ways, "one row: XGBoost", *kernels, "apart", "compiled in, to"]
    return _line(cells) + "\n" + _line(["---"] * len(cells))


def line(measured: Measured, kernels: Sequence[str]) -> str:
    """Return one model's line: µs a row of a batch with their spread, and µs of a single row."""
    cells = [
        str(measured.shape),
        *(_cell(measured, way, BATCH) for way in (CONTRIBUTIONS, PREDICTIONS, *kernels)),
        *(_cell(measured, way, SINGLE) for way in (CONTRIBUTIONS, *kernels)),
        f"{measured.distance:.0e}",
        f"{measured.compile_seconds:.1f} s, {measured.megabytes:.1f} MB",
    ]
    return _line(cells)


def _cell(measured: Measured, way: str, rows: int) -> str:
    timing = measured.timings[way, rows]
    micros = [each / rows * 1e6 for each in (timing.median, timing.low, timing.high)]
    text = f"{_short(micros[0])} ({_short(micros[1])}-{_short(micros[2])})"
    if way in TITLES:
        return text
    return f"{text} **x {_short(measured.timings[CONTRIBUTIONS, rows].median / timing.median)}**"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
