"""Compiles a C file that a trial's programs load before the C library (LD_PRELOAD)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ops.lab.trial_appliance import TrialError

#: Warnings are errors, as for the kernels.
FLAGS = ("-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")


def compiled(source: Path, folder: Path) -> Path | None:
    """Compile a source; None without a C compiler. Raises TrialError for a bad source."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = folder / f"{source.stem}.so"
    made = subprocess.run(
        [compiler, *FLAGS, "-o", str(library), str(source), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise TrialError(f"{source} cannot be compiled:\n{made.stderr}")
    return library
