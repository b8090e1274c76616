"""The generated parts of docs/benchmarks.md: each is between two markers."""

from __future__ import annotations

import re
from pathlib import Path

from shared.build import ROOT

#: The page.
PAGE = ROOT / "docs" / "benchmarks.md"


class PageError(Exception):
    """The page has no place for a part."""


def insert(page: Path, name: str, text: str) -> None:
    """Put a part's text in its place. Raises PageError if there is none."""
    before = page.read_text(encoding="utf-8")
    begin, end = f"<!-- bench {name} -->", f"<!-- end of bench {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    after, places = pattern.subn(lambda _: f"{begin}\n{text}\n{end}", before)
    if places != 1:
        raise PageError(f"{page.name} has {places} places for {name}: it needs one {begin} … {end}")
    page.write_text(after, encoding="utf-8")
