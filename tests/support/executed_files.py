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
#: Files that no request, rows or values are handed to, by the reason why they are not counted.
ASIDE = {
    "logging and metrics": {"shared/log.py", "shared/metrics.py", "shared/appliance/counters.py"},
    "configuration and names": {"shared/settings.py", "shared/jobs/keys.py", "shared/jobs/ids.py"},
    "only admit or refuse": {
        "services/api/capacity/disk.py",
        "services/api/capacity/results.py",
        "services/api/http/admission.py",
        "shared/appliance/status.py",
        "shared/disk.py",
        "shared/redis/capacity.py",
    },
    "describe models and sizes": {
        "shared/interactions.py",
        "shared/models/catalog.py",
        "shared/models/contract.py",
        "shared/models/version.py",
        "shared/summary/sample.py",
        "shared/summary/summary.py",
    },
    "faults of Redis": {"shared/redis/connection.py"},
    "a worker's own life": {"services/worker/exits.py", "shared/memory.py"},
}

type Times = dict[str, set[int]]


class ExecutedFiles:
    """Notes files during a `with` block. `threads`: names that count; None: all but `but`."""

    def __init__(self, *, only: str | None = None, but: str | None = None) -> None:
        self._only = only
        self._but = but
        #: Milliseconds since the epoch at which a function, PATH:NAME, was entered or resumed.
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
            if thread != self._but and self._only in {None, thread}:
                name = f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_qualname}"
                self.times[name].add(time.time_ns() // 1_000_000)


def functions_between(times: Times, start: float, end: float) -> set[str]:
    """Return the functions that ran between two times, in seconds since the epoch."""
    return {
        function
        for function, moments in times.items()
        if any(start * 1000 - 1 <= moment <= end * 1000 for moment in moments)
    }


def files_of(functions: set[str]) -> list[str]:
    """Return the files of functions, without those in ASIDE."""
    return sorted({name.partition(":")[0] for name in functions}.difference(*ASIDE.values()))


def main() -> None:
    """Run a module's `main` and write what its main thread executed."""
    output, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv[:3] = [module]
    executed = ExecutedFiles(only="MainThread")
    try:
        with executed:
            importlib.import_module(module).main()
    finally:
        output.write_text(json.dumps({name: sorted(moments) for name, moments in executed.times.items()}))


if __name__ == "__main__":
    main()
