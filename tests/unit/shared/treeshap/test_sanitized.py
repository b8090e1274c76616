"""The kernels under the address and undefined-behaviour sanitizers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.build import ROOT
from shared.models.activation.compilation import compile_booster
from shared.treeshap import build
from shared.treeshap.interventional import against_background
from shared.treeshap.table_file import write_tables
from tests.support.boosters import train
from tests.support.sanitizers import SANITIZERS, sanitizer_of
from tests.unit.conftest import REQUIRED

MODELS: dict[str, dict[str, Any]] = {
    "tables": {"depth": 6, "trees": 3, "features": 8},
    "repeated": {"depth": 7, "trees": 3, "features": 2},
    "deep": {"depth": 10, "trees": 2, "features": 10, "min_child_weight": 0},
    "eight bits": {"depth": 9, "trees": 2, "features": 9, "min_child_weight": 0},
    "classes": {"depth": 3, "trees": 3, "features": 4, "objective": "multi:softprob", "num_class": 3},
    "categories": {"depth": 4, "trees": 3, "features": 3, "categories": 40, "max_cat_to_onehot": 1},
    "leaves": {"depth": 3, "trees": 2, "features": 3, "gamma": 1e9},
}


def run(preload: str, library: Path, *options: str) -> subprocess.CompletedProcess[str]:
    more = {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "tests.support.sanitized_run",
        str(library),
        str(library.parent),
        *options,
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_no_kernel_leaves_its_memory_or_does_what_is_undefined_whatever_a_checked_file_holds(
    tmp_path: Path,
) -> None:
    compiler = build.find_compiler()
    preload = compiler and sanitizer_of(compiler)
    if not preload:
        assert not REQUIRED, "no compiler with the address sanitizer is here"
        pytest.skip("no compiler with the address sanitizer is here")
    library = build.build(tmp_path / "treeshap.so", SANITIZERS)
    for name, how in MODELS.items():
        booster, x = train(**how)
        files = {name: compile_booster(booster)}
        if name != "deep":  # tables would not do
            files[f"{name}, interventional"] = against_background(files[name], x[:50])
        for file, compiled in files.items():
            write_tables(tmp_path / f"{file}.shaptables", compiled, file)
            np.save(tmp_path / f"{file}.npy", x)
    done = run(preload, library)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "explained" in done.stdout
    # The sanitizers are awake: the same program dies of a model that nobody has checked.
    assert "AddressSanitizer" in run(preload, library, "--unchecked").stderr
