"""A table of ways to explain the same rows: µs a row, ratios, and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ops.lab.bench.libraries import Loaded
from ops.lab.bench.report import Report, listed, short
from ops.lab.bench.timing import Found, cell_text, fill_cells, ratio, timed, times
from ops.lab.reference import EXACT, Matrix, distance

#: A kernel that is slower by less than this counts as fast: turns differ by more.
AS_FAST = 0.95

#: Explains rows; what it returns is only looked at if it is compared.
type Explain = Callable[[Matrix], Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, the right values of its first rows, and ways to explain all of them.

    The values of `ours` and `theirs` are compared with the right ones; `timed_only` gives other values.
    """

    labels: Sequence[str]
    rows: Matrix
    wanted: np.ndarray
    ours: Mapping[str, Explain]
    theirs: Mapping[str, Explain]
    timed_only: Mapping[str, Explain]
    note: str


@dataclass(frozen=True, slots=True)
class Line:
    """Some rows of one subject: each way's cell, and its distance from the right values."""

    subject: Subject
    rows: int
    cells: Mapping[str, Found]
    apart: Mapping[str, float]

    def __str__(self) -> str:
        return f"{', '.join(self.subject.labels)}, {self.rows:,} rows"

    def ratio(self, name: str, other: str) -> float | None:
        """Return how many times as fast the first way is as the other."""
        return ratio(self.cells.get(name), self.cells.get(other))

    def worst(self, *, ours: bool) -> str:
        """Return the largest distance of our kernels, or of the other ways."""
        found = [apart for name, apart in self.apart.items() if (name in self.subject.ours) == ours]
        return f"{max(found):.0e}" if found else ""


@dataclass(slots=True)
class Comparison:
    """A table of lines. Our kernels are compared with `others`, above all the first one."""

    labels: Sequence[str]
    others: Sequence[str]
    note: str
    lines: list[Line] = field(default_factory=list)

    def measure(self, subject: Subject, libraries: Loaded, counts: Sequence[int], seconds: float) -> None:
        """Add a line for each number of rows."""
        compared = {**subject.theirs, **subject.ours}
        some, wanted = subject.rows[: len(subject.wanted)], subject.wanted.astype(np.float32)
        values = {name: explain(some) for name, explain in compared.items()} | libraries.values
        apart = {name: distance(each, wanted, base=False) for name, each in values.items()}
        here = {**compared, **subject.timed_only}
        ways = {name: timed(explain, subject.rows) for name, explain in here.items()} | libraries.ways
        lost: dict[str, Found] = dict(libraries.lost)
        for rows in counts:
            cells = fill_cells({name: way for name, way in ways.items() if name not in lost}, rows, seconds)
            # One that was given up is not waited for again.
            lost |= {name: cell for name, cell in cells.items() if isinstance(cell, str)}
            self.lines.append(Line(subject, rows, {**cells, **lost}, apart))

    def report(self) -> Report:
        """Return the table, and what it shows."""
        columns = list(dict.fromkeys([*self.lines[0].cells, *self.others]))
        kernel, first = next(iter(self.lines[0].subject.ours)), self.others[0]
        head = [
            *self.labels,
            "rows",
            *columns,
            f"{kernel} to {first}",
            "ours apart",
            "others apart",
            self.note,
        ]
        lines = [
            [
                *line.subject.labels,
                f"{line.rows:,}",
                *(cell_text(line.cells.get(name), line.rows) for name in columns),
                times(line.ratio(kernel, first)),
                line.worst(ours=True),
                line.worst(ours=False),
                line.subject.note,
            ]
            for line in self.lines
        ]
        summary = [self._summary(kernel, other) for other in self.others]
        return Report(head, lines, summary, self._slower(first), self._wrong())

    def _slower(self, other: str) -> str:
        found = [
            f"{line}, {name}: {times(factor)}"
            for line in self.lines
            for name in line.subject.ours
            if (factor := line.ratio(name, other)) is not None and factor < AS_FAST
        ]
        nowhere = f"In none of these {len(self.lines)} lines is a kernel slower than {other}."
        return listed(f"Where a kernel is slower than {other}:", found, nowhere)

    def _summary(self, kernel: str, other: str) -> list[str]:
        """Return how many times as fast as the other our fastest kernel was, by number of rows."""
        ranges: dict[int, list[float]] = {}
        for line in self.lines:
            if (factor := line.ratio(kernel, other)) is not None:
                ranges.setdefault(line.rows, []).append(factor)
        counts = " / ".join(f"{rows:,}" for rows in ranges) or "-"
        spans = " / ".join(f"{times(min(each))} to {short(max(each))}" for each in ranges.values())
        return [f"speed at {counts} rows a call", spans, other]

    def _wrong(self) -> list[str]:
        found = {
            f"{', '.join(line.subject.labels)}, {name}: {apart:.1e} apart": None
            for line in self.lines
            for name, apart in line.apart.items()
            if name in line.subject.ours and not apart <= EXACT
        }
        return list(found)
