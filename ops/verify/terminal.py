"""The progress of a visit on a terminal: one line for each check, rewritten until it ends."""

from __future__ import annotations

import shutil
from typing import TextIO

from ops.verify.report import CheckResult, Verdict

#: Colours of a terminal, by verdict.
COLOURS = {Verdict.PASS: "32", Verdict.FAIL: "31", Verdict.SKIP: "33"}


class TerminalProgress:
    """Writes to a terminal."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._name = ""

    def begin(self, name: str) -> None:
        """Show what is being checked."""
        self._name = name
        self._write(f"....  {name}")

    def note(self, text: str) -> None:
        """Show how far it is."""
        self._write(f"....  {self._name}  {text}")

    def end(self, result: CheckResult) -> None:
        """Show how it ended, and leave that there."""
        said = result.measured if result.verdict is Verdict.PASS else result.detail
        self._write(f"{result.verdict}  {result.name}  {said}", COLOURS[result.verdict])
        self._terminal.write("\n")

    def _write(self, line: str, colour: str | None = None) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]
        if colour:
            line = f"\x1b[{colour}m{line[:4]}\x1b[0m{line[4:]}"
        self._terminal.write(f"\r\x1b[K{line}")
        self._terminal.flush()
