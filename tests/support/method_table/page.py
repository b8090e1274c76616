"""Writes what was found into docs/methods.md, between two marks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from shared.build import ROOT
from shared.models.activation.records import ExplanationKind
from tests.support.method_table.judging import TOLERANCE, Verdict, Verdicts
from tests.support.method_table.trained_kinds import BOOSTERS, DEEP, SHALLOW, Kind

PAGE: Path = ROOT / "docs" / "methods.md"
_BEGIN, _END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_ERROR = re.compile(r"\b\d(?:\.\d)?e[-+]\d\d\b")
#: A cell of a kind that was not judged.
_UNKNOWN = "?"
_TITLES = {
    ExplanationKind.TREE_PATH_DEPENDENT: "`tree_path_dependent`",
    ExplanationKind.INTERVENTIONAL: "`interventional`",
    ExplanationKind.INTERACTIONS: "Interactions",
}


class _Notes:
    """The reasons, numbered when first given, without the numbers of one model."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def number(self, reason: str) -> str:
        said = _NUMBER.sub("…", " ".join(reason.split()))
        if said not in self._known:
            self._known.append(said)
        return f"[{self._known.index(said) + 1}]"

    def lines(self) -> list[str]:
        return [f"{number}. {said}" for number, said in enumerate(self._known, 1)]


def generated(found: Mapping[Kind, Verdicts]) -> str:
    """Return the page's generated part: a table by method and depth, and the reasons."""
    notes, lines = _Notes(), []
    for which, title in _TITLES.items():
        for depth in (SHALLOW, DEEP):
            lines += ["", f"### {title}, trees of depth {depth}", ""]
            boosters = [name for name in BOOSTERS if depth == SHALLOW or name != "gblinear"]
            lines += [f"| objective | {' | '.join(boosters)} |", f"|---{'|---' * len(boosters)}|"]
            cells: dict[str, dict[str, str]] = {}
            for kind, verdicts in found.items():
                if kind.depth == depth:
                    cells.setdefault(kind.row, {})[kind.booster] = _cell(verdicts[which], notes)
            lines += [
                f"| `{row}` | {' | '.join(of.get(name, _UNKNOWN) for name in boosters)} |"
                for row, of in cells.items()
            ]
    lines += ["", "### Why not", "", *notes.lines(), ""]
    return "\n".join(lines)


def _cell(pair: tuple[Verdict, Verdict], notes: _Notes) -> str:
    """Say it once where it is the same with the compiled engine and without."""
    said = [
        f"{one.engine} {one.error:.0e}" if one.engine else f"no {notes.number(one.reason)}" for one in pair
    ]
    same = pair[0].engine is not None and pair[0].engine == pair[1].engine
    return said[0] if same or said[0] == said[1] else "; ".join(said)


def cells_of(text: str) -> dict[tuple[str, str, str], str]:
    """Return the judged cells by table, objective and booster, with reasons for their numbers.

    They are without the errors, which depend on the processor.
    """
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))
    cells = {}
    for section in text.split("\n### ")[1:]:
        title, *lines = section.splitlines()
        table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
        for objective, *row in table[1:]:
            for booster, cell in zip(table[0][1:], row, strict=True):
                said = re.sub(r"\[(\d+)\]", lambda number: reasons[number[1]], _ERROR.sub("…", cell))
                cells[title, objective, booster] = said
    return {place: cell for place, cell in cells.items() if cell != _UNKNOWN}


def written() -> str:
    """Return what the page's generated part says now."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]


def write(text: str) -> None:
    """Put a new generated part into the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    PAGE.write_text(head + _BEGIN + text + _END + rest.partition(_END)[2], encoding="utf-8")


def wrong_cells(found: Mapping[Kind, Verdicts]) -> list[str]:
    """Return every verdict that offers an engine which is not right."""
    return [
        f"{kind.row}, {kind.booster}, depth {kind.depth}: {which} by {one.engine} is {one.error:.1e} off"
        for kind, verdicts in found.items()
        for which, pair in verdicts.items()
        for one in pair
        if one.engine is not None and not one.error <= TOLERANCE
    ]
