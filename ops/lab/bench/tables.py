"""Tables and figures as Markdown, which a terminal shows as well."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table, its columns as wide as their widest cell."""
    rows = [list(head), ["---"] * len(head), *map(list, lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def short(number: float) -> str:
    """Return three digits, without an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def count(number: int) -> str:
    """Return a number of things as people write it."""
    return f"{number:,}"


def listed(title: str, items: Sequence[str]) -> str:
    """Return a title and a line for each item; nothing without items."""
    return "\n".join([title, "", *(f"- {item}" for item in items)]) if items else ""
