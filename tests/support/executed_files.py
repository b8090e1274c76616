"""Notes which of our files execute functions, and when, in all threads of a process.

`python -m tests.support.executed_files OUTPUT MODULE ARGUMENTS` runs a program and writes that down when it ends.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType
from typing import Self

from shared.build import ROOT

#: Tools 0 to 2 and 5 are reserved for debuggers, coverage, profilers and optimizers.
TOOL = 4
OURS = tuple(f"{ROOT / folder}/" for folder in ("services", "shared"))
#: Logging is no part of what a request passes through.
LOGGING = "shared/log.py"

type Times = dict[str, set[int]]


class ExecutedFiles:
    """Notes files during a `with` block. `threads`: names that count; None: all but `but`."""

    def __init__(self, *, only: str | None = None, but: tuple[str, ...] = ()) -> None:
        self._only = only
        self._but = but
        #: Milliseconds since the epoch at which functions of a file were entered or resumed, by the file's path.
        self.times: Times = defaultdict(set)

    def __enter__(self) -> Self:
        events = sys.monitoring.events.PY_START | sys.monitoring.events.PY_RESUME
        sys.monitoring.use_tool_id(TOOL, "executed files")
        for event in (sys.monitoring.events.PY_START, sys.monitoring.events.PY_RESUME):
            sys.monitoring.register_callback(TOOL, event, self._note)
        sys.monitoring.set_events(TOOL, events)
        return self

    def __exit__(self, *_exc: object) -> None:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.free_tool_id(TOOL)

    def _note(self, code: CodeType, _offset: int) -> None:
        if code.co_filename.startswith(OURS) and code.co_name != "<module>":
            thread = threading.current_thread().name
            if thread not in self._but and self._only in {None, thread}:
                self.times[code.co_filename].add(time.time_ns() // 1_000_000)


def files_between(times: Times, start: float, end: float) -> list[str]:
    """Return the files that executed between two times (since the epoch), but for logging."""
    found = {
        str(Path(file).relative_to(ROOT))
        for file, moments in times.items()
        if any(start * 1000 - 1 <= moment <= end * 1000 for moment in moments)
    }
    return sorted(found - {LOGGING})


def main() -> None:
    """Run a module's `main` and write what its main thread executed."""
    output, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv[:3] = [module]
    executed = ExecutedFiles(only="MainThread")
    try:
        with executed:
            importlib.import_module(module).main()
    finally:
        output.write_text(json.dumps({file: sorted(moments) for file, moments in executed.times.items()}))


if __name__ == "__main__":
    main()
