"""Finds what the rules forbid in one file, and exceptions that are wrong or no longer needed.

An exception stands on the line it is for, or on the line above, in a comment: prose: allow "NAME": REASON
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ops.prose.rules import RULES

#: The first line of a docstring is shorter than this.
SUMMARY_LENGTH = 90
_EXCEPTION = re.compile(r'prose: allow "(?P<name>[^"]*)"(?P<reason>: \w.*)?')
#: Marks of comments, lists and quotations at the beginning of a line.
_MARKS = re.compile(r"^(\s*)(?:#+:?|//+|/\*+|\*|--?|>+)(?=\s)", re.MULTILINE)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

#: A line number, and what to write there instead.
type Finding = tuple[int, str]


def check(path: Path, text: str) -> list[Finding]:
    """Return the findings of a file, by line."""
    exceptions = {
        (number, found["name"].lower()): found["reason"]
        for number, line in enumerate(text.splitlines(), 1)
        for found in _EXCEPTION.finditer(line)
    }
    used: set[tuple[int, str]] = set()
    findings = []
    for line, name, message in _matches(path, _EXCEPTION.sub(_blanks, text)):
        allowed = {(line, name), (line - 1, name)} & exceptions.keys()
        used |= allowed
        if not allowed:
            findings.append((line, message))
    for (line, name), reason in exceptions.items():
        if not reason:
            findings.append((line, f'the exception for "{name}" states no reason'))
        elif (line, name) not in used:
            findings.append((line, f'the exception for "{name}" is not needed'))
    return sorted(findings)


def _blanks(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _matches(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, rule and message. Without marks, a pattern matches across the lines of a comment."""
    bare = _MARKS.sub(_blanks, text)
    for rule in RULES:
        for found in rule.pattern.finditer(bare):
            said = " ".join(found[0].split())
            yield bare.count("\n", 0, found.start()) + 1, rule.name, f'"{said}" ({rule.name}): {rule.advice}'
    for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
        if isinstance(node, _DOCUMENTED) and (docstring := ast.get_docstring(node)):
            length = docstring.find("\n") if "\n" in docstring else len(docstring)
            if length >= SUMMARY_LENGTH:
                limit = f"the limit is {SUMMARY_LENGTH - 1}"
                yield (
                    node.body[0].lineno,
                    "summary",
                    f"the docstring's first line has {length} characters; {limit}",
                )
