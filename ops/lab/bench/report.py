"""The input and the result of a part of the bench, and its figures as text.

docs/benchmarks.md has a summary on top and a place for each part; the tables are CSV files beside it.
"""

from __future__ import annotations

import csv
import datetime as dt
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.lab.report import table
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost
from shared.treeshap.library import Library

#: The page. Its tables are in a folder of the same name.
PAGE = ROOT / "docs" / "benchmarks.md"
#: The columns of the summary.
SUMMARY = ("part", "measured", "Shapbox", "others")

type Say = Callable[[str], None]
type Cells = Sequence[str]


class BenchError(Exception):
    """Something cannot be measured; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How to measure. `say` tells what is under way, `minutes` are those of all parts together."""

    library: Library
    say: Say
    minutes: float
    quick: bool
    peers: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A part's table, its lines of the summary, and its findings in words.

    `shows` says what the table shows, and `wrong` names wrong values. A line of the summary has three cells: what was
    measured, Shapbox's figures, and those of the others.
    """

    head: Cells
    lines: Sequence[Cells]
    summary: Sequence[Cells]
    shows: str
    wrong: Sequence[str]


def short(number: float) -> str:
    """Return three digits, without an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def spread(median: float, low: float, high: float) -> str:
    """Return a median with what lies around it."""
    return f"{short(median)} ({short(low)}-{short(high)})"


def listed(title: str, items: Sequence[str], otherwise: str) -> str:
    """Return a title and a line for each item, or other words where there are none."""
    return "\n".join([title, "", *(f"- {item}" for item in items)]) if items else otherwise


def write(page: Path, part: str, machine: str, report: Report) -> None:
    """Put a part's figures in their places. Raises BenchError if the page has no such place."""
    text = f"{machine} All figures: [{part}.csv]({page.stem}/{part}.csv).\n\n{report.shows}"
    after = _replace(page.read_text(encoding="utf-8"), part, lambda _: text)
    after = _replace(after, "summary", lambda old: _summary(old, part, report))
    page.write_text(after, encoding="utf-8")
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    with (folder / f"{part}.csv").open("w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([report.head, *report.lines])


def _replace(text: str, name: str, new: Callable[[str], str]) -> str:
    begin, end = f"<!-- bench {name} -->", f"<!-- end of bench {name} -->"
    pattern = re.compile(f"{re.escape(begin)}\n(.*?){re.escape(end)}", re.DOTALL)
    after, places = pattern.subn(lambda found: f"{begin}\n{new(found[1])}\n{end}", text)
    if places != 1:
        raise BenchError(f"{PAGE.name} has {places} places for {name}: it needs one {begin} … {end}")
    return after


def _summary(old: str, part: str, report: Report) -> str:
    """Return the summary with this part's lines in place of its former ones, or at the end."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in old.splitlines()[2:]]
    link = f"[{part}](#{part})"
    place = next((at for at, line in enumerate(lines) if line[0] == link), len(lines))
    others: list[Cells] = [line for line in lines if line[0] != link]
    others[place:place] = [[link, *cells] for cells in report.summary]
    return table([SUMMARY, *others])


def machine_line() -> str:
    """Return processor, cores, versions, the day, and the load at the beginning."""
    day = dt.datetime.now(tz=dt.UTC).date()
    found = re.search(
        r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return (
        f"{day}, {found[1] if found else platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the beginning, "
        f"Python {platform.python_version()}, XGBoost {import_xgboost().__version__}."
    )
