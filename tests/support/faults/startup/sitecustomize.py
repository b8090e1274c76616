"""Read by every Python with this folder on PYTHONPATH; acts only in appliances under test.

Python imports a module of this name before the program. Production has none: the folder is on a PYTHONPATH only
if a test puts it there, and each change needs a variable SHAPBOX_TEST_… beside it:

    TIMING=NAME=SECONDS,…    other times of shared.timing, in every service
    FAULTS=FOLDER            faults at exact places of workers, see placed_faults.py
    UNGUARDED=1              no memory guard and no limit of a worker's memory
    WRONG_VALUES=MODEL=HOW,… wrong values of workers and api
    LEAK_MB=N                memory that a worker keeps with each result
    HOG_MB=N                 memory that the monitor keeps (nothing restarts it for its size)
    NO_WORKER=1 or NAME      workers that end at every start
    CRASHES=SECONDS          workers that end so long after their first heartbeat
"""

from __future__ import annotations

import importlib
import os
import sys

_program = sys.orig_argv[2] if sys.orig_argv[1:2] == ["-m"] else ""
_given = {
    name.removeprefix("SHAPBOX_TEST_"): value
    for name, value in os.environ.items()
    if name.startswith("SHAPBOX_TEST_") and value
}
_service = _program.removeprefix("services.") if _program.startswith("services.") else None

if _service == "worker" and _given.get("NO_WORKER") in {"1", sys.orig_argv[-1]}:
    os._exit(3)  # within startsecs, however busy the machine is
if _service and _given:
    changes = importlib.import_module("changes")  # beside this file; the repository is not importable yet
    if times := _given.get("TIMING"):
        changes.set_times(times)
    if _given.get("UNGUARDED"):
        changes.unguard()
    if (models := _given.get("WRONG_VALUES")) and _service != "monitor":
        changes.falsify(models)
    if (mb := _given.get("LEAK_MB")) and _service == "worker":
        changes.leak_with_each_result(int(mb))
    if (seconds := _given.get("CRASHES")) and _service == "worker":
        changes.crash_after_heartbeat(float(seconds))
    if (mb := _given.get("HOG_MB")) and _service == "monitor":
        changes.keep_mb(int(mb))
    if (folder := _given.get("FAULTS")) and _service == "worker":
        importlib.import_module("placed_faults").install(folder)
