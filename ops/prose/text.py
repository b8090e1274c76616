"""The text of a file without its comment marks, so that a pattern matches across the lines of a comment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: Marks at the beginning of a line, by the file's suffix. A Makefile and a Dockerfile have none.
_MARKS = {
    ".py": r"#:?",
    ".js": r"//+|/\*+|\*",
    ".css": r"/\*+|\*",
    ".c": r"/\*+|\*|//",
    ".h": r"/\*+|\*|//",
    ".lua": r"--",
    ".md": r"[>#]+|[-*]",
}
_OTHER_MARKS = r"#+"

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def bare_text(path: Path, text: str) -> str:
    """Return the text with comment marks replaced by blanks. Every character keeps its line."""
    marks = _MARKS.get(path.suffix, _OTHER_MARKS)
    return re.sub(
        rf"^(\s*)({marks})(?=\s)", lambda mark: mark[1] + " " * len(mark[2]), text, flags=re.MULTILINE
    )


def summaries(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the first line of every docstring of a Python module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DOCUMENTED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.body[0].lineno, docstring.split("\n", 1)[0]
