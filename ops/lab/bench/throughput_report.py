"""The whole appliance's figures as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ops.lab.bench.throughput import Throughput

#: The table's names of media types.
TITLES = {
    "application/x-npy": "NPY",
    "text/csv": "CSV",
    "application/json": "JSON",
    "application/x-ndjson": "NDJSON",
}

HEADER = (
    "| model | in and out | rows/s | times bare XGBoost | accepted after | explained after | fetched after | µs of a processor a row |\n"
    "|---|---|---|---|---|---|---|---|"
)


def lines(measured: Throughput) -> Iterator[str]:
    """Return a line for the bare processes and one for each media type: median, low, high."""
    bare = float(np.median(measured.bare))
    yield f"| {measured.shape} | bare XGBoost processes | {_spread(measured.bare)} | 1 | | | | |"
    for media_type in measured.turns:
        rates = measured.rates(media_type)
        seconds = " | ".join(f"{each:.2f} s" for each in measured.stages(media_type))
        yield f"| | {TITLES[media_type]} | {_spread(rates)} | {np.median(rates) / bare:.1f} | {seconds} | {_processor(measured, media_type)} |"
    if measured.peak_mb is not None:
        yield f"| | peak of the working set | {measured.peak_mb:.0f} MB | | | | | |"


def _processor(measured: Throughput, media_type: str) -> str:
    turns = measured.processor.get(media_type, [])
    programs = turns[0] if turns else {}
    return ", ".join(f"{name} {np.median([turn[name] for turn in turns]):.1f}" for name in programs)


def _spread(rates: Sequence[float]) -> str:
    return f"{np.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"
