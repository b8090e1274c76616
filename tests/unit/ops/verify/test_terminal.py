from __future__ import annotations

import io

import pytest

from ops.verify.report import CheckResult, Verdict
from ops.verify.terminal import TerminalProgress


def test_a_line_is_written_over_until_its_check_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = io.StringIO()
    progress = TerminalProgress(terminal)
    progress.begin("soak")
    progress.note("5 of 60 s")
    progress.end(CheckResult("soak", Verdict.FAIL, "12 MB", "After 5 s it is not well. " * 3))
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "....  soak",
        "....  soak  5 of 60 s",
        "\x1b[31mFAIL\x1b[0m  soak  After 5 s it is not well. A\n",
    ]
