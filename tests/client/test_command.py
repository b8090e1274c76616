"""The command line, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import Shapbox
from shapbox.command import main
from tests.support.client import stopped
from tests.support.trained_case import ModelCase

#: Exit code, standard output, standard error.
type Done = tuple[int, str, str]
#: Runs the command and prints the most memory that it took, in kilobytes.
MEASURED = """
import pathlib, re, sys
from shapbox.command import main
code = main()
print(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


@pytest.fixture
def run(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run the command; return its exit code, and what it printed on standard output and error."""
    monkeypatch.setenv("SHAPBOX_URL", appliance.url)
    monkeypatch.setenv("SHAPBOX_API_KEY", appliance.api_key)

    def call(*words: str) -> Done:
        try:
            code = main(words)
        except SystemExit as end:
            code = int(str(end.code))
        return (code, *capsys.readouterr())

    return call


def test_a_large_file_is_streamed_up_and_down(appliance: Appliance, tmp_path: Path) -> None:
    line = ",".join(["47.000000000000001"] * 10) + "\n"
    rows, values = tmp_path / "rows.csv", tmp_path / "values.csv"
    taken = []
    for count in (1_000, 150_000):
        rows.write_text("age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n" + line * count)
        words = ["explain", str(rows), "-m", "diabetes", "-o", str(values)]
        command = [sys.executable, "-c", MEASURED, *words, "--url", appliance.url]
        environment = appliance.environment | {"SHAPBOX_API_KEY": appliance.api_key}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
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


def test_values_are_written_in_every_format(
    run: Callable[..., Done], case: ModelCase, tmp_path: Path
) -> None:
    case.rows.to_csv(tmp_path / "rows.csv", index=False)
    for suffix in ("csv", "npy", "ndjson", "parquet"):
        output = tmp_path / f"values.{suffix}"
        words = ["explain", str(tmp_path / "rows.csv"), "--model", "credit", "-o", str(output), "--quiet"]
        assert run(*words) == (0, "", "")
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


def test_models_and_jobs_are_listed(run: Callable[..., Done]) -> None:
    models = run("models")[1].splitlines()
    assert models[0].split() == ["MODEL", "STATE", "FEATURES", "OUTPUTS", "METHODS"]
    assert "wine@1           ready  13        3        tree_path_dependent, interventional" in models
    jobs = run("jobs", "--status", "completed")[1].splitlines()
    assert jobs[0].split() == ["JOB", "STATUS", "MODEL", "ROWS", "DONE", "CREATED"]


def test_faults_are_told_in_a_line_or_two(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, values = tmp_path / "rows.csv", tmp_path / "v.csv"
    rows.write_text("home,amount,term,years,insured\nown,1,10,1,true\ntent,x,10,1,true\n")
    faults = {
        (rows, "-m", "credit", "-o", values): "row 1, column 'amount'",
        (rows, "-m", "loans", "-o", values): "There is no model 'loans'",
        (rows, "-o", tmp_path / "v.txt"): "v.txt is of no known type",
        (rows, "-o", tmp_path / "none" / "v.csv"): "There is no folder",
        (tmp_path / "none.csv", "-o", values): "none.csv cannot be read",
    }
    for words, said in faults.items():
        code, output, error = run("explain", *map(str, words), "-q")
        assert (code, output) == (1, "")
        assert error.startswith("shapbox: ")
        assert said in error
    assert run("explain")[0] == 2
    monkeypatch.setenv("SHAPBOX_API_KEY", "wrong")
    assert "SHAPBOX_API_KEY" in run("models")[2]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_ctrl_c_cancels_the_job(
    appliance: Appliance, run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shapbox.client.Job.wait", press)
    np.save(tmp_path / "rows.npy", np.ones((100_000, 10), np.float32))
    words = ["-m", "diabetes", "--method", "interventional", "-o", str(tmp_path / "values.csv")]
    with stopped(*appliance.worker_pids()):
        assert run("explain", str(tmp_path / "rows.npy"), *words)[0] == 130
    assert next(Shapbox(appliance.url, appliance.api_key).jobs()).status == "cancelled"
