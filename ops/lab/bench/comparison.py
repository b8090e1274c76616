"""A table of ways to explain the same rows.

It has µs a row, ratios, and distances from the right values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ops.lab.bench.report import Report, listed, short
from ops.lab.bench.timing import Found, Way, cell_text, fill_cells, ratio, times
from ops.lab.reference import EXACT

#: Our kernels' names begin with this.
OURS = "compiled-"
#: A kernel that is slower by less than this counts as fast: turns differ by more.
AS_FAST = 0.95


@dataclass(frozen=True, slots=True)
class Line:
    """Some rows of one model: each way's cell, and its largest distance from the right values."""

    labels: Sequence[str]
    cells: Mapping[str, Found]
    apart: Mapping[str, float]
    note: str
    rows: int = 0

    def ratio(self, name: str, other: str) -> float | None:
        """Return how many times as fast the first way is as the other."""
        return ratio(self.cells.get(name), self.cells.get(other))

    def worst(self, *, ours: bool) -> float | None:
        """Return the largest distance of our ways, or of the others."""
        return max(
            (apart for name, apart in self.apart.items() if name.startswith(OURS) == ours), default=None
        )


@dataclass(slots=True)
class Comparison:
    """A table of lines. Ours are compared with `others`; ratios are to the first of them."""

    labels: Sequence[str]
    others: Sequence[str]
    note: str
    lines: list[Line] = field(default_factory=list)

    def measure(self, line: Line, counts: Sequence[int], ways: Mapping[str, Way], seconds: float) -> None:
        """Add a line like this one for each number of rows; its cells say which ways are given up."""
        lost = dict(line.cells)
        for rows in counts:
            cells = fill_cells({name: way for name, way in ways.items() if name not in lost}, rows, seconds)
            # One that was given up is not waited for again.
            lost |= {name: cell for name, cell in cells.items() if isinstance(cell, str)}
            self.lines.append(replace(line, rows=rows, cells={**cells, **lost}))

    def report(self) -> Report:
        """Return the table, and what it shows."""
        columns = list(dict.fromkeys([*self.lines[0].cells, *self.others]))
        ours = [name for name in columns if name.startswith(OURS)]
        head = [
            *self.labels,
            "rows",
            *columns,
            f"{ours[0]} to {self.others[0]}",
            "ours apart",
            "others apart",
        ]
        lines = [self._cells(line, columns, ours[0]) for line in self.lines]
        summary = [self._summary(ours[0], other) for other in self.others]
        return Report([*head, self.note], lines, summary, self._slower(ours), self._wrong())

    def _cells(self, line: Line, columns: Sequence[str], kernel: str) -> list[str]:
        worst = (line.worst(ours=True), line.worst(ours=False))
        return [
            *line.labels,
            f"{line.rows:,}",
            *(cell_text(line.cells.get(name), line.rows) for name in columns),
            times(line.ratio(kernel, self.others[0])),
            *(f"{apart:.0e}" if apart is not None else "" for apart in worst),
            line.note,
        ]

    def _slower(self, ours: Sequence[str]) -> str:
        found = [
            f"{', '.join(line.labels)}, {line.rows:,} rows, {name}: {times(factor)}"
            for line in self.lines
            for name in ours
            if (factor := line.ratio(name, self.others[0])) is not None and factor < AS_FAST
        ]
        nowhere = f"In none of these {len(self.lines)} lines is a kernel slower than {self.others[0]}."
        return listed(f"Where a kernel is slower than {self.others[0]}:", found, nowhere)

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
            f"{', '.join(line.labels)}, {name}: {apart:.1e} apart": None
            for line in self.lines
            for name, apart in line.apart.items()
            if name.startswith(OURS) and not apart <= EXACT
        }
        return list(found)
