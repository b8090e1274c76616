"""Runs a module of the worker's in a process of its own, for work that may crash it or that brings XGBoost along."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[3]


def run_module(module: str, arguments: Sequence[str], timeout: float) -> tuple[list[dict[str, Any]], str]:
    """Run `python -m module`, which prints one JSON object a line; return its answers, and how it ended."""
    try:
        done = subprocess.run(  # noqa: S603 - this very Python and a module of ours, no shell
            [sys.executable, "-m", module, *arguments],
            cwd=_REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        output, errors = done.stdout, done.stderr.decode(errors="replace").strip().splitlines()
        ending = f"ended with {done.returncode} ({errors[-1][:200] if errors else 'it crashed'})"
    except subprocess.TimeoutExpired as late:
        output, ending = late.stdout or b"", f"did not come to an end in {timeout:.0f} s"
    return [json.loads(line) for line in output.splitlines() if line.endswith(b"}")], ending
