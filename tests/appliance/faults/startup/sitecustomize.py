"""Read by every Python that starts with this folder on PYTHONPATH; does nothing but in a worker under test.

Python imports a module of this name before the program. Production has none, and neither its code nor its
environment knows of this one: it is there only when a test puts the folder on a trial appliance's PYTHONPATH,
and acts only when SHAPBOX_TEST_FAULTS names a folder of faults and the program is `services.worker`, or when
SHAPBOX_TEST_UNGUARDED is set and the program is that or `services.monitor`.
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
