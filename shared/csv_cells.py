"""Texts in CSV that a spreadsheet would take for formulas, made harmless and read back.

A formula in a name or label can call programs, or send other cells away, as soon as the file is opened. An apostrophe before
it makes it a text. So that the way back is certain, texts that have apostrophes there already get one more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: The beginning of what is taken for a formula: these characters, also in full width (OWASP, "CSV Injection").
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
#: Numbers, some of which begin like a formula.
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def harmless(text: str) -> str:
    """Return the text as a spreadsheet may read it. Numbers stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def readable(names: Iterable[str]) -> dict[str, str]:
    """Return the names by all the ways in which readers take them: as they are, and harmless."""
    as_they_are = {name: name for name in names}
    return {harmless(name): name for name in as_they_are} | as_they_are


def harmless_names(names: Iterable[str]) -> dict[str, str]:
    """Return how to write each name so that it is read as itself.

    That is its harmless form, unless another one has it as its name.
    """
    found = readable(names)
    return {
        name: text if found[text] == name else name for name in found.values() for text in [harmless(name)]
    }
