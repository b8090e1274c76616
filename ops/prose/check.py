"""Finds what the rules forbid in one file, and exceptions that are wrong or no longer needed.

An exception stands on the line it is for, or on the line above, in a comment: prose: allow "NAME": REASON
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.prose.rules import RULES
from ops.prose.text import bare_text, summaries

#: The first line of a docstring is shorter than this.
SUMMARY_LENGTH = 90

_EXCEPTION = re.compile(r'prose: allow "(?P<name>[^"]*)"(?P<reason>: \w.*)?')


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A place in a file, and what to write there instead."""

    line: int
    message: str


def check(path: Path, text: str) -> list[Finding]:
    """Return the findings of a file, by line."""
    lines = text.splitlines()
    exceptions = {
        (number, found["name"].lower()): found["reason"]
        for number, line in enumerate(lines, 1)
        for found in _EXCEPTION.finditer(line)
    }
    used: set[tuple[int, str]] = set()
    findings = []
    for name, finding in _matches(path, _EXCEPTION.sub(_blanks, text)):
        allowed = {(finding.line, name), (finding.line - 1, name)} & exceptions.keys()
        used |= allowed
        if not allowed:
            findings.append(finding)
    for (number, name), reason in exceptions.items():
        if not reason:
            findings.append(Finding(number, f'the exception for "{name}" states no reason'))
        elif (number, name) not in used:
            findings.append(Finding(number, f'the exception for "{name}" is not needed'))
    return sorted(findings)


def _blanks(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _matches(path: Path, text: str) -> Iterator[tuple[str, Finding]]:
    bare = bare_text(path, text)
    for rule in RULES:
        for found in rule.pattern.finditer(bare):
            line = bare.count("\n", 0, found.start()) + 1
            said = " ".join(found[0].split())
            yield rule.name, Finding(line, f'"{said}" ({rule.name}): {rule.advice}')
    if path.suffix == ".py":
        for line, summary in summaries(text):
            if len(summary) >= SUMMARY_LENGTH:
                message = f"the docstring's first line has {len(summary)} characters; the limit is {SUMMARY_LENGTH - 1}"
                yield "summary", Finding(line, message)
