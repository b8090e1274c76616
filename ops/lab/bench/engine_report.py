"""The engines' lines as a table: µs a row, and how many times faster ours is than each."""

from __future__ import annotations

from collections.abc import Sequence

from ops.lab.bench.cells import Cell, Found
from ops.lab.bench.engines import CONTRIBUTIONS, PEER_NAMES, PREDICTIONS, Line
from ops.lab.bench.tables import count, listed, short, table
from ops.lab.reference import EXACT

#: An engine that is slower by less than this counts as fast: turns differ by more.
AS_FAST = 0.95


def engine_table(lines: Sequence[Line]) -> str:
    """Return the table."""
    ours = our_names(lines)
    head = ["model", "rows", f"XGBoost `{CONTRIBUTIONS}`", "`predict`", *ours, f"{ours[0]} to XGBoost"]
    head += [*PEER_NAMES, "ours apart", "peers apart"]
    return table(head, [_cells(line, ours) for line in lines])


def our_names(lines: Sequence[Line]) -> list[str]:
    """Return our kernels as they are called, the fastest first."""
    return [name for name in lines[0].cells if name.startswith("compiled-")]


def ratio(line: Line, name: str, to: str = CONTRIBUTIONS) -> float | None:
    """Return how many times the median of `to` is that of `name`, None where one has none."""
    own, other = line.cells.get(name), line.cells.get(to)
    return other.median / own.median if isinstance(own, Cell) and isinstance(other, Cell) else None


def slower_than_xgboost(lines: Sequence[Line]) -> list[str]:
    """Return where any of our kernels is slower than XGBoost's contributions, in words."""
    found = []
    for line in lines:
        for name in our_names([line]):
            times = ratio(line, name)
            if times is not None and times < AS_FAST:
                found.append(f"{line.shape}, {count(line.rows)} rows, {name}: {short(times)} times")
    return found


def wrong_values(lines: Sequence[Line]) -> list[str]:
    """Return where our values are not XGBoost's, in words."""
    return sorted(
        {
            f"{line.shape}, {name}: {apart:.1e} apart"
            for line in lines
            for name, apart in line.apart.items()
            if name.startswith("compiled-") and not apart <= EXACT
        }
    )


def verdict(lines: Sequence[Line]) -> str:
    """Return the last line: where ours is slower than XGBoost, if anywhere."""
    nowhere = f"Nowhere in these {len(lines)} lines is a kernel slower than XGBoost's `{CONTRIBUTIONS}`."
    return listed("Where a kernel is slower than XGBoost:", slower_than_xgboost(lines)) or nowhere


def _cells(line: Line, ours: Sequence[str]) -> list[str]:
    times = ratio(line, ours[0])
    return [
        str(line.shape),
        count(line.rows),
        *(cell_text(line.cells.get(name), line.rows) for name in (CONTRIBUTIONS, PREDICTIONS, *ours)),
        f"**x {short(times)}**" if times else "?",
        *(cell_text(line.cells.get(name), line.rows) for name in PEER_NAMES),
        _apart(line, ours),
        _apart(line, PEER_NAMES),
    ]


def cell_text(found: Found | None, rows: int) -> str:
    """Return µs a row with their spread and on how many rows, or why there are none."""
    if found is None:
        return "not installed"
    if isinstance(found, str):
        return found.replace("|", "/")
    micros = [short(each * 1e6) for each in (found.median, found.low, found.high)]
    fewer = f" on {count(found.rows)}" if found.rows < rows else ""
    return f"{micros[0]} ({micros[1]}-{micros[2]}){fewer}"


def _apart(line: Line, names: Sequence[str]) -> str:
    found = [line.apart[name] for name in names if name in line.apart]
    return f"{max(found):.0e}" if found else ""
