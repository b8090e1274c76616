"""Read by every Python with this folder on PYTHONPATH; acts only in appliances under test.

Python imports a module of this name before the program. Production has none, and neither its code nor its
environment knows of this one: it is there only when a test puts the folder on a trial appliance's PYTHONPATH,
and acts only when SHAPBOX_TEST_FAULTS names a folder of faults and the program is `services.worker`, when
SHAPBOX_TEST_LEAK_MB or SHAPBOX_TEST_NO_WORKER is set and the program is that, when
SHAPBOX_TEST_WRONG_VALUES is set and the program is that or `services.api`, when SHAPBOX_TEST_UNGUARDED is set and the program is that or `services.monitor`, or when
SHAPBOX_TEST_HOG_MB is set and the program is `services.monitor`, which nothing restarts for its size. With
SHAPBOX_TEST_TIMING all of these programs have other times than production's.
"""

from __future__ import annotations

import importlib
import os
import sys

if sys.orig_argv[1:3] in (["-m", "services.worker"], ["-m", "services.monitor"]):
    if os.environ.get("SHAPBOX_TEST_UNGUARDED"):
        importlib.import_module("placed_faults").disarm()
    if os.environ.get("SHAPBOX_TEST_FAULTS") and sys.orig_argv[2] == "services.worker":
        # It lies beside this file, and the repository is not importable yet.
        importlib.import_module("placed_faults").install(os.environ["SHAPBOX_TEST_FAULTS"])
no_worker = os.environ.get("SHAPBOX_TEST_NO_WORKER")  # 1 or a worker's name
if no_worker in sys.orig_argv or (no_worker == "1" and sys.orig_argv[1:3] == ["-m", "services.worker"]):
    os._exit(3)  # within startsecs, however busy the machine is
if sys.orig_argv[1:3] in (["-m", "services.worker"], ["-m", "services.api"]) and os.environ.get(
    "SHAPBOX_TEST_WRONG_VALUES"
):
    importlib.import_module("placed_faults").falsify()
if os.environ.get("SHAPBOX_TEST_TIMING") and "".join(sys.orig_argv[2:3]).startswith("services."):
    importlib.import_module("scaled_timing")
if os.environ.get("SHAPBOX_TEST_HOG_MB") and sys.orig_argv[1:3] == ["-m", "services.monitor"]:
    importlib.import_module("hog")
if os.environ.get("SHAPBOX_TEST_LEAK_MB") and sys.orig_argv[1:3] == ["-m", "services.worker"]:
    importlib.import_module("placed_faults").leak_in_each_batch(int(os.environ["SHAPBOX_TEST_LEAK_MB"]))
