"""One line that says how a soak goes."""

from __future__ import annotations

from collections.abc import Sequence

from ops.lab.soak.growth import MB
from ops.lab.soak.samples import Kind, Sample

#: Samples from the end that a line is made of: more than one turn writes.
LAST = 200


def progress_line(now: float, seconds: float, samples: Sequence[Sample]) -> str:
    """Return the state after `now` of `seconds`."""
    recent = samples[-LAST:]
    counts = {one.name: round(one.value) for one in recent if one.kind is Kind.COUNT}
    pss = {one.name: one.value / MB for one in recent if one.kind is Kind.PSS}
    working_set = [one.value / MB for one in recent if one.kind is Kind.WORKING_SET]
    wrong = sum(counts.get(name, 0) for name in ("jobs_failed", "values_wrong", "calls_broken"))
    waiting = sum(value for name, value in counts.items() if name.startswith("waiting_"))
    return (
        f"{_clock(now)} of {_clock(seconds)}  jobs {counts.get('jobs_done', 0):,}  "
        f"rows {counts.get('rows_done', 0):,}  one-row {counts.get('one_row_answers', 0):,}  "
        f"waiting {waiting}  refused {counts.get('requests_refused', 0)}  wrong {wrong}  |  "
        f"working set {working_set[-1] if working_set else 0:.0f} MB:  "
        + "  ".join(f"{name} {value:.0f}" for name, value in sorted(pss.items()))
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
