"""One version's activation in real children: limits, crashes and repeated stages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from shared.build import ROOT
from shared.child_environment import child_environment
from shared.engines.compiled_engine import tables_path
from shared.jobs.document import Method
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import SHAP, ExplanationKind, State, VersionRecord, is_compiled
from shared.models.contract import Trees, TreesReason
from shared.models.version import ModelVersion, read_version
from shared.treeshap.library import Library
from tests.support.activated import AMPLE, add_model, replace_model
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


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have children run a script instead of Python."""

    def use(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return use


def assert_refused(record: VersionRecord, *said: str) -> None:
    assert record.state is State.REFUSED
    assert record.methods == {}
    for words in said:
        assert words in (record.reason or ""), record.reason


def small_model(models_dir: Path) -> ModelVersion:
    return add_model(models_dir, train(3, 2, 3)[0])


def with_children_at(models_dir: Path, place: int) -> ModelVersion:
    """Write a model whose first root's children are both at a place where there is no child."""
    booster, _ = train(3, 2, 3)
    version = add_model(models_dir, booster)
    document = json.loads(bytes(booster.save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = tree["right_children"][0] = place
    replace_model(version, bytes(load(document).save_raw("ubj")))
    return read_version(version.folder)


def in_first_format(version: ModelVersion) -> ModelVersion:
    """Write a manifest again as the first edition of the appliance did."""
    path = version.folder / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    kept = ("name", "version", "sha256", "objective", "training", "outputs", "background", "examples")
    old = {name: manifest[name] for name in kept}
    old["features"] = [feature["name"] for feature in manifest["features"]]
    old["xgboost_version"] = manifest["library_version"]
    path.write_bytes(orjson.dumps(old))
    return read_version(version.folder)


#: Lines that libraries print, and one that was cut off.
NOISE = r"""#!/bin/sh
echo 123
echo '[08:00:00] WARNING: {}'
echo '{"step": "ver'
"""


def test_a_model_of_the_first_format_is_completed_and_its_best_rounds_are_compiled_for_all_methods(
    tmp_path: Path, compiled_dir: Path, python: Callable[[str], None]
) -> None:
    python(f'{NOISE}exec {sys.executable} "$@"\n')
    booster, x = train(3, 6, 4)
    booster.set_attr(best_iteration="3")
    version = in_first_format(add_model(tmp_path / "models", booster, background=x[:30]))
    assert (version.contract.format, version.contract.trees) == (1, None)
    record = activate_version(version, compiled_dir, AMPLE, "the key")
    assert (record.key, record.state, record.reason) == ("the key", State.READY, None)
    assert record.contract is not None
    assert record.contract["trees"] == {"used": 4, "total": 6, "reason": "best_iteration"}
    assert {*record.methods} == {VALUES, INTERACTIONS, INTERVENTIONAL}
    assert all(is_compiled(method) for method in record.methods.values())
    assert sorted(path.name.count("-4") for path in compiled_dir.iterdir()) == [1, 1]
    assert record.seconds > 0


def test_a_model_that_takes_more_memory_or_time_than_it_may_is_refused_with_the_setting(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, _ = train(8, 60, 10, min_child_weight=0)
    large = add_model(tmp_path / "models", booster, "large")
    record = activate_version(large, compiled_dir, Limits(memory_mb=4, seconds=120), "key")
    assert_refused(record, "needs more than 4 MB of memory (ACTIVATION_MEMORY_MB)", "raise the setting")
    endless = with_children_at(tmp_path / "models", 0)  # XGBoost goes round in circles
    record = activate_version(endless, compiled_dir, Limits(400, seconds=1), "key")
    assert_refused(record, "did not end within 1 s of processor time (ACTIVATION_SECONDS)", "raise")


def test_a_model_that_crashes_its_child_is_refused_with_the_reason(
    tmp_path: Path, compiled_dir: Path
) -> None:
    version = with_children_at(tmp_path / "models", 10**9)
    assert_refused(
        activate_version(version, compiled_dir, AMPLE, "key"), "its inspection failed with SIGSEGV"
    )
    assert not [*compiled_dir.iterdir()]


def test_margins_that_the_owner_expects_are_compared_with_those_of_the_rounds_that_count(
    tmp_path: Path, compiled_dir: Path
) -> None:
    booster, x = train(3, 6, 4, objective="multi:softprob", num_class=3)
    right = margins(booster[:4], x[:20])
    nothing = np.full_like(right, np.nan)
    chosen = Trees(4, 6, TreesReason.CHOSEN)
    records = []
    for name, wanted, trees in (
        ("right", right, chosen),
        ("all", right, Trees(6, 6)),
        ("nan", nothing, chosen),
    ):
        version = add_model(tmp_path / "models", booster, name, expected=(x[:20], wanted), trees=trees)
        records.append(activate_version(version, compiled_dir, AMPLE, "key"))
    assert (records[0].state, records[0].reason, records[0].contract) == (State.READY, None, None)
    for record in records[1:]:
        assert_refused(record, "off the owner's in expected-margins.npy", "--check")


def test_a_deep_models_interventional_values_are_tried_with_shap(tmp_path: Path, compiled_dir: Path) -> None:
    booster, x = train(10, 3, 12, min_child_weight=0)
    version = add_model(tmp_path / "models", booster, background=x[:12])
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    assert is_compiled(record.methods[VALUES])
    assert is_compiled(record.methods[INTERACTIONS])
    found = record.methods[INTERVENTIONAL]
    assert found.engine == SHAP
    assert "too deep for tables" in (found.reason or "")
    assert 0 <= (found.difference or 0) <= 1e-5
    assert {*compiled_dir.iterdir()} == {tables_path(version, Method.TREE_PATH_DEPENDENT, compiled_dir)}


#: A Python that runs out of memory in some stages, as the real one might, and else is the real one.
STARVED = """#!{python}
import os, subprocess, sys
module, stages = sys.argv[1:7], sys.argv[7:]
starved = {starved!r}
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


def test_a_stage_that_ran_out_of_memory_is_tried_again_alone_and_then_refuses_only_its_method(
    tmp_path: Path, compiled_dir: Path, python: Callable[[str], None]
) -> None:
    booster, x = train(3, 4, 4)
    version = add_model(tmp_path / "models", booster, background=x[:30])
    real = sys.executable
    python(STARVED.format(python=real, starved=["interactions"]))
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    assert {*record.methods} == {VALUES, INTERACTIONS, INTERVENTIONAL}
    assert all(is_compiled(method) for method in record.methods.values())

    python(STARVED.format(python=real, starved=["interventional", "always"]))
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert record.state is State.READY
    refused = record.methods[INTERVENTIONAL]
    assert refused.engine is None
    assert (refused.reason or "").startswith("its verification of interventional needs more than 2000 MB")
    assert all(is_compiled(record.methods[kind]) for kind in (VALUES, INTERACTIONS))


def test_a_child_ends_with_the_start_that_began_it(tmp_path: Path, compiled_dir: Path) -> None:
    version = with_children_at(tmp_path / "models", 0)  # its inspection never ends
    code = (
        "import sys; from pathlib import Path\n"
        "from shared.models.activation.activate import Limits, activate_version\n"
        "from shared.models.version import read_version\n"
        "activate_version(read_version(Path(sys.argv[1])), Path(sys.argv[2]), Limits(400, 60), 'key')\n"
    )
    command = [sys.executable, "-c", code, str(version.folder), str(compiled_dir)]
    with subprocess.Popen(command, cwd=ROOT) as start:
        child = await_child(start.pid)
        start.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while is_running(child):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child outlived the start")
        time.sleep(0.05)


def stat_of(process: int) -> list[str]:
    """Return a process's state and what follows it; nothing of one that is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return []


def is_running(process: int) -> bool:
    """Return whether a process runs; one whose parent is gone may stay as a zombie."""
    return (stat_of(process) or ["Z"])[0] != "Z"


def await_child(parent: int) -> int:
    """Return the process id of a first child that has loaded its libraries."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(2400):
        for child in map(int, children.read_text(encoding="ascii").split()):
            limits = Path(f"/proc/{child}/limits").read_text(encoding="ascii")
            if "Max cpu time              60 " in limits:
                return child
        time.sleep(0.05)
    raise AssertionError("no child was started")


def test_a_child_is_given_no_secrets() -> None:
    kept = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib"}
    secrets = dict.fromkeys(("API_KEY", "ADMIN_API_KEY_FILE", "REDIS_URL", "AWS_SECRET_ACCESS_KEY"), "secret")
    environment = child_environment({**kept, **secrets})
    assert environment.items() >= kept.items()
    assert not environment.keys() & secrets.keys()


def test_a_kill_from_outside_or_a_disk_that_takes_no_tables_says_nothing_of_the_model(
    tmp_path: Path, compiled_dir: Path, python: Callable[[str], None]
) -> None:
    version = small_model(tmp_path / "models")
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    record = activate_version(version, nowhere, AMPLE, "key")
    assert_refused(record, "Not a directory", "tries again")
    assert record.key == ""  # the next start does
    python("#!/bin/sh\nkill -9 $$\n")
    record = activate_version(version, compiled_dir, AMPLE, "key")
    assert_refused(record, "was killed, probably because the machine ran out of memory", "tries again")
    assert record.key == ""
