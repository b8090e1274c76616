"""The command line, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ops.lab.trial_appliance import Appliance
from tests.support.trained_case import ModelCase

#: Runs the command and prints the most memory that it took, in kilobytes.
MEASURED = """
import pathlib, re, sys
from shapbox.command import main
code = main()
print(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""
PROGRAM = ["-m", "shapbox"]


def shapbox(
    appliance: Appliance, *words: str, key: str | None = None, program: Sequence[str] = PROGRAM
) -> subprocess.CompletedProcess[str]:
    environment = appliance.environment | {
        "SHAPBOX_URL": appliance.url,
        "SHAPBOX_API_KEY": appliance.api_key if key is None else key,
    }
    command = [sys.executable, *program, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_large_file_is_streamed_up_and_down(appliance: Appliance, tmp_path: Path) -> None:
    line = ",".join(["47.000000000000001"] * 10) + "\n"
    rows, values = tmp_path / "rows.csv", tmp_path / "values.csv"
    taken = []
    for count in (1_000, 150_000):
        rows.write_text("age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n" + line * count)
        words = ["explain", str(rows), "-m", "diabetes", "-o", str(values)]
        done = shapbox(appliance, *words, program=["-c", MEASURED])
        assert done.returncode == 0, done.stderr
        taken.append(int(done.stdout) * 1024)
        assert values.read_bytes().count(b"\n") == count + 1
        *stages, last = done.stderr.splitlines()
        assert list(dict.fromkeys(stage.split()[0] for stage in stages)) == [
            "sending",
            "explaining",
            "saving",
        ]
        assert last.startswith(f"{count} rows of diabetes@1 in {values}, job ")
    assert taken[1] < 150e6
    assert taken[1] - taken[0] < values.stat().st_size / 2 < rows.stat().st_size / 2


@pytest.mark.parametrize("suffix", ["csv", "npy", "ndjson", "parquet"])
def test_values_are_written_in_every_format(
    appliance: Appliance, case: ModelCase, tmp_path: Path, suffix: str
) -> None:
    case.rows.to_csv(tmp_path / "rows.csv", index=False)
    output = tmp_path / f"values.{suffix}"
    words = ["explain", str(tmp_path / "rows.csv"), "--model", "credit", "-o", str(output), "--quiet"]
    done = shapbox(appliance, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    match suffix:
        case "npy":
            values = np.load(output)
        case "ndjson":
            lines = map(json.loads, output.read_text().splitlines())
            values = np.array([[*line["values"], line["base_value"]] for line in lines])
        case _:
            frame = pl.read_csv(output) if suffix == "csv" else pl.read_parquet(output)
            values = frame.to_numpy()[:, :6]
    np.testing.assert_allclose(values, case.contributions[:, 0], atol=2e-5)


def test_models_and_jobs_are_listed(appliance: Appliance) -> None:
    models = shapbox(appliance, "models").stdout.splitlines()
    assert models[0].split() == ["MODEL", "STATE", "FEATURES", "OUTPUTS", "METHODS"]
    assert "wine@1           ready  13        3        tree_path_dependent, interventional" in models
    jobs = shapbox(appliance, "jobs", "--status", "completed").stdout.splitlines()
    assert jobs[0].split() == ["JOB", "STATUS", "MODEL", "ROWS", "DONE", "CREATED"]


def test_faults_are_told_in_a_line_or_two(appliance: Appliance, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("home,amount,term,years,insured\nown,1,10,1,true\ntent,x,10,1,true\n")
    faults = {
        ("explain", str(rows), "-m", "credit", "-o", f"{tmp_path}/v.csv"): "row 1, column 'amount'",
        ("explain", str(rows), "-m", "loans", "-o", f"{tmp_path}/v.csv"): "There is no model 'loans'",
        ("explain", str(rows), "-o", f"{tmp_path}/v.txt"): "v.txt is of no known type",
        ("explain", str(rows), "-o", f"{tmp_path}/none/v.csv"): "There is no folder",
        ("explain", f"{tmp_path}/none.csv", "-o", f"{tmp_path}/v.csv"): "none.csv cannot be read",
    }
    for words, said in faults.items():
        done = shapbox(appliance, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert "SHAPBOX_API_KEY" in shapbox(appliance, "models", key="wrong").stderr
    assert shapbox(appliance, "explain").returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
