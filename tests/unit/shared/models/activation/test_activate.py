"""One version's activation in real children: limits, crashes and repeated stages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from shared.build import ROOT
from shared.engines.compiled_engine import tables_path
from shared.engines.lean_xgboost import import_xgboost
from shared.jobs.document import Method
from shared.models.activation.activate import Limits, activate_version, child_environment
from shared.models.activation.records import SHAP, XGBOOST, ExplanationKind, State, VersionRecord, is_compiled
from shared.models.contract import Trees, TreesReason
from shared.models.version import read_version
from shared.treeshap.library import Library
from tests.support.activated import AMPLE, add_model, contract_of, replace_model
from tests.support.boosters import load, margins, train

VALUES, INTERACTIONS, INTERVENTIONAL = (
    ExplanationKind.TREE_PATH_DEPENDENT,
    ExplanationKind.INTERACTIONS,
    ExplanationKind.INTERVENTIONAL,
)


@pytest.fixture
def compiled_dir(tmp_path: Path, library: Library) -> Path:
    del library  # that it is built
    folder = tmp_path / "compiled"
    folder.mkdir()
    return folder


def assert_refused(record: VersionRecord, *said: str) -> None:
    assert record.state is State.REFUSED
    assert record.methods == {}
    for words in said:
        assert words in (record.reason or ""), record.reason


def test_a_model_with_background_rows_is_compiled_for_all_and_its_files_are_those_that_are_recorded(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, x = train(3, 4, 4)
    version = add_model(tmp_path / "models", booster, background=x[:30])
    record = activate_version(version, compiled_dir, AMPLE, "the key")
    assert (record.key, record.state, record.reason, record.contract) == ("the key", State.READY, None, None)
    assert {*record.methods} == {VALUES, INTERACTIONS, INTERVENTIONAL}
    assert all(is_compiled(method) for method in record.methods.values())
    assert {*compiled_dir.iterdir()} == {tables_path(version, method, compiled_dir) for method in Method}
    assert 0 < record.seconds < 60


def test_a_model_that_takes_more_memory_than_it_may_is_refused_with_the_setting(
    tmp_path: Path, compiled_dir: Path
) -> None:
    xgboost = import_xgboost()
    x = np.random.default_rng(1).uniform(size=(4000, 10)).astype(np.float32)
    params = {"max_depth": 8, "eta": 0.01, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(x, x.sum(axis=1), nthread=1), 600)
    version = add_model(tmp_path / "models", booster)
    record = activate_version(version, compiled_dir, Limits(memory_mb=64, seconds=120), "key")
    assert_refused(record, "needs more than 64 MB of memory (ACTIVATION_MEMORY_MB)", "raise the setting")


def documents(booster: Any) -> Any:
    return json.loads(bytes(booster.save_raw("json")))


def with_children_at(place: int) -> bytes:
    """A model whose first root's children are both at a place where there is no child."""
    booster, _ = train(3, 2, 3)
    document = documents(booster)
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = tree["right_children"][0] = place
    return bytes(load(document).save_raw("ubj"))


def test_a_model_that_takes_more_time_than_it_may_is_refused_with_the_setting(
    tmp_path: Path, compiled_dir: Path
) -> None:
    version = add_model(tmp_path / "models", train(3, 2, 3)[0])
    replace_model(version, with_children_at(0))  # XGBoost goes round in circles
    began = time.monotonic()
    record = activate_version(read_version(version.folder), compiled_dir, Limits(400, seconds=1), "key")
    assert_refused(
        record, "its inspection did not end within 1 s of processor time (ACTIVATION_SECONDS)", "raise"
    )
    assert time.monotonic() - began < 120


def test_a_model_that_crashes_or_contradicts_its_contract_is_refused_with_the_reason(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, _ = train(3, 2, 3)
    for name, content, said in (
        ("crashing", with_children_at(10**9), "its inspection failed with SIGSEGV"),
        ("nothing", b"no model", "model.ubj"),
    ):
        version = add_model(tmp_path / "models", booster, name)
        replace_model(version, content)
        assert_refused(activate_version(read_version(version.folder), compiled_dir, AMPLE, "key"), said)
    few = add_model(tmp_path / "models", booster, "few", features=contract_of(booster).features[:2])
    record = activate_version(few, compiled_dir, AMPLE, "key")
    assert_refused(record, "the model takes 3 features, its manifest names 2")
    assert not [*compiled_dir.iterdir()]


def test_margins_that_the_owner_expects_are_compared_with_those_of_the_rounds_that_count(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, x = train(3, 6, 4, objective="multi:softprob", num_class=3)
    right = margins(booster[:4], x[:20])
    wrong, nothing = right.copy(), np.full_like(right, np.nan)
    wrong[7, 2] += 0.5
    chosen = Trees(4, 6, TreesReason.CHOSEN)
    records = []
    for name, expected, trees in (
        ("right", right, chosen),
        ("all", right, Trees(6, 6)),
        ("nothing", nothing, chosen),
        ("wrong", wrong, chosen),
    ):
        version = add_model(tmp_path / "models", booster, name, expected=(x[:20], expected), trees=trees)
        records.append(activate_version(version, compiled_dir, AMPLE, "key"))
    assert (records[0].state, records[0].reason) == (State.READY, None)
    for record in records[1:]:
        assert_refused(record, "off the owner's in expected-margins.npy", "--check")
    off = float((records[3].reason or "").split("its margins are ")[1].split()[0])
    assert 0.1 < off <= 0.5


def in_first_format(folder: Path) -> None:
    """Write a manifest again as the first edition of the appliance did."""
    path = folder / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    old = {name: manifest[name] for name in ("name", "version", "sha256", "objective", "training", "outputs")}
    old |= {
        "features": [feature["name"] for feature in manifest["features"]],
        "xgboost_version": manifest["library_version"],
        "background": manifest["background"],
        "examples": manifest["examples"],
        "fallback": False,
    }
    path.write_bytes(orjson.dumps(old))


def test_a_manifest_of_the_first_format_is_completed_and_tables_are_those_of_the_best_rounds(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, x = train(3, 6, 4)
    booster.set_attr(best_iteration="3")
    version = add_model(tmp_path / "models", booster, background=x[:20])
    in_first_format(version.folder)
    version = read_version(version.folder)
    assert (version.contract.format, version.contract.trees) == (1, None)
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY, record.reason
    assert record.contract is not None
    assert record.contract["trees"] == {"used": 4, "total": 6, "reason": "best_iteration"}
    assert sorted(path.name.count("-4") for path in compiled_dir.iterdir()) == [1, 1]


def test_a_deep_models_interventional_values_are_tried_with_shap_and_refused_alone_if_wrong(
    tmp_path: Path, compiled_dir: Path
) -> None:
    dart: dict[str, Any] = {"booster": "dart", "rate_drop": 0.6, "one_drop": 1}
    plain: dict[str, Any] = {}
    for name, more, engine in (("right", plain, SHAP), ("wrong", dart, None)):
        booster, x = train(10, 3, 12, min_child_weight=0, **more)
        version = add_model(tmp_path / "models", booster, name, background=x[:12])
        record = activate_version(version, compiled_dir, AMPLE, "key")
        assert record.state is State.READY
        assert is_compiled(record.methods[VALUES])
        assert is_compiled(record.methods[INTERACTIONS])
        found = record.methods[INTERVENTIONAL]
        assert found.engine == engine
        assert "too deep for tables" in (found.reason or "")
        assert ("; shap's values are " in (found.reason or "")) == (engine is None)
        assert engine is None or 0 <= (found.difference or 0) <= 1e-5


def test_a_linear_model_is_xgboosts_with_the_reason(tmp_path: Path, compiled_dir: Path) -> None:
    booster, _ = train(0, 3, 4, booster="gblinear")
    record = activate_version(add_model(tmp_path / "models", booster), compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    assert record.methods[VALUES].engine == XGBOOST
    assert "gblinear has no trees" in (record.methods[VALUES].reason or "")
    assert not [*compiled_dir.iterdir()]


#: A Python that runs out of memory where the variable says, as the real one might, and else is the real one.
STARVED = """#!{python}
import os, subprocess, sys
module, stages = sys.argv[1:7], sys.argv[7:]
starved = os.environ["PYTHON_TEST_STARVED"].split(",")
if "values" in stages or "always" in starved:
    some = stages[: next((at for at, stage in enumerate(stages) if stage in starved), len(stages))]
    if len(some) < len(stages):
        done = subprocess.run([{python!r}, *module, *some], capture_output=True, text=True) if some else None
        lines = done.stdout.splitlines() if done else []
        print("\\n".join(line for line in lines if '"end"' not in line))
        print('{{"step":"verification of ' + stages[len(some)] + '"}}')
        print('{{"out_of_memory":true}}')
        sys.exit(0)
os.execv({python!r}, [{python!r}, *module, *stages])
"""


@pytest.fixture
def starved_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(STARVED.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


@pytest.mark.usefixtures("starved_python")
def test_a_stage_that_ran_out_of_memory_after_others_is_tried_again_alone(
    tmp_path: Path, compiled_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_TEST_STARVED", "interactions")
    booster, x = train(3, 4, 4)
    version = add_model(tmp_path / "models", booster, background=x[:30])
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    assert {*record.methods} == {VALUES, INTERACTIONS, INTERVENTIONAL}
    assert all(is_compiled(method) for method in record.methods.values())


@pytest.mark.usefixtures("starved_python")
@pytest.mark.parametrize("stage", [INTERACTIONS, INTERVENTIONAL])
def test_a_stage_that_runs_out_of_memory_alone_as_well_refuses_only_its_method(
    tmp_path: Path, compiled_dir: Path, monkeypatch: pytest.MonkeyPatch, stage: ExplanationKind
) -> None:
    monkeypatch.setenv("PYTHON_TEST_STARVED", f"{stage.value},always")
    booster, x = train(3, 4, 4)
    version = add_model(tmp_path / "models", booster, background=x[:30])
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    refused = record.methods.pop(stage)  # type: ignore[attr-defined]  # it is a dict
    assert refused.engine is None
    assert (refused.reason or "").startswith(f"its verification of {stage.value} needs more than 2000 MB")
    assert len(record.methods) == 2
    assert all(is_compiled(method) for method in record.methods.values())


def test_a_child_ends_with_the_start_that_began_it(tmp_path: Path, compiled_dir: Path) -> None:
    version = add_model(tmp_path / "models", train(3, 2, 3)[0])
    replace_model(version, with_children_at(0))  # its inspection never ends
    code = (
        "import sys; from pathlib import Path\n"
        "from shared.models.activation.activate import Limits, activate_version\n"
        "from shared.models.version import read_version\n"
        "activate_version(read_version(Path(sys.argv[1])), Path(sys.argv[2]), Limits(400, 60), 'key')\n"
    )
    command = [sys.executable, "-c", code, str(version.folder), str(compiled_dir)]
    with subprocess.Popen(command, cwd=ROOT) as start:
        child = await_child(start.pid)
        time.sleep(1)  # it asks for the signal once its libraries are loaded
        start.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while is_running(child):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child outlived the start")
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Return whether a process runs; one whose parent is gone may stay as a zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def await_child(parent: int) -> int:
    """Return the process id of a process's first child that computes."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(2400):
        for child in map(int, path.read_text(encoding="ascii").split()):
            times = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            if int(times[11]) > 100:  # a second of processor time: beyond its libraries
                return child
        time.sleep(0.05)
    raise AssertionError("no child was started")


def test_a_child_is_given_no_secrets() -> None:
    secrets = {
        "API_KEY": "k",
        "ADMIN_API_KEY_FILE": "/f",
        "REDIS_URL": "redis://:p@h",
        "AWS_SECRET_ACCESS_KEY": "s",
    }
    environment = child_environment({"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", **secrets})

    assert environment["PATH"] == "/bin"
    assert environment["LD_LIBRARY_PATH"] == "/lib"
    assert not environment.keys() & secrets.keys()


def test_a_child_that_is_killed_from_outside_says_nothing_of_the_model(
    tmp_path: Path, compiled_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    version = add_model(tmp_path / "models", train(3, 2, 3)[0])
    monkeypatch.setattr(sys, "executable", str(script))
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert_refused(record, "was killed, probably because the machine ran out of memory", "tries again")
    assert record.key == ""  # the next start does


def test_a_disk_that_takes_no_tables_says_nothing_of_the_model(tmp_path: Path) -> None:
    version = add_model(tmp_path / "models", train(3, 2, 3)[0])
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    record = activate_version(version, nowhere, AMPLE, "key")
    assert_refused(record, "Not a directory", "tries again")
    assert record.key == ""


def test_what_a_library_prints_and_a_line_that_is_cut_off_are_passed_over(
    tmp_path: Path, compiled_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\necho 123\necho \'[08:00:00] WARNING: {{}}\'\necho \'{{"step": "ver\'\nexec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    version = add_model(tmp_path / "models", train(3, 2, 3)[0])
    monkeypatch.setattr(sys, "executable", str(script))
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert (record.state, record.reason) == (State.READY, None)
