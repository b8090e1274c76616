from __future__ import annotations

import subprocess
import sys

from shared.build import ROOT

PROGRAM = """
import sys
import services.monitor.__main__
heavy = {"numpy", "scipy", "pandas", "xgboost", "shap", "falcon", "waitress"} & set(sys.modules)
assert not heavy, f"the monitor pays for {heavy}"
"""


def test_the_monitor_loads_nothing_that_it_has_no_use_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
