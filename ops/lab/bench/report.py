"""The input and the result of a part of the bench, and its figures as text.

docs/benchmarks.md has a summary on top and a place for each part; the tables are CSV files beside it.
"""

from __future__ import annotations

import csv
import datetime as dt
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.lab.report import table
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost
from shared.treeshap.library import Library

#: The page. Its tables are in a folder of the same name.
PAGE = ROOT / "docs" / "benchmarks.md"
#: The columns of the summary.
SUMMARY: Cells = ("part", "measured", "Shapbox", "others")

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


def write(page: Path, reports: Mapping[str, tuple[str, Report]]) -> None:
    """Put the figures of all parts in their places. Raises BenchError if one is missing."""
    text, folder, summary = page.read_text(encoding="utf-8"), page.with_suffix(""), [SUMMARY]
    for part, (machine, report) in reports.items():
        said = f"{machine} All figures: [{part}.csv]({page.stem}/{part}.csv).\n\n{report.shows}"
        text = _replace(text, part, said)
        summary += [(f"[{part}](#{part})", *cells) for cells in report.summary]
    page.write_text(_replace(text, "summary", table(summary)), encoding="utf-8")
    folder.mkdir(exist_ok=True)
    for part, (_, report) in reports.items():
        with (folder / f"{part}.csv").open("w", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([report.head, *report.lines])


def _replace(text: str, name: str, new: str) -> str:
    begin, end = f"<!-- bench {name} -->", f"<!-- end of bench {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise BenchError(f"{PAGE.name} needs one {begin} … {end}")
    return f"{text.partition(begin)[0]}{begin}\n{new}\n{end}{text.partition(end)[2]}"


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
