"""Folders and keys with difficult characters, and the keys that each program is given."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.support.faults.submitted import SMALL_BATCHES, submit

#: Characters that shells, supervisord, Redis, RQ and URLs give a meaning.
DIFFICULT = "a b=c%d%(e)s\"f'gü;#\\"
#: The parts of a checkout that boot needs: those of the image.
PARTS = ("services", "shared", "models", "ops/run")
KEYS = {name: f"{name.lower()}-%(x)s%%\"';#\\=$" for name in ("API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN")}
#: Another's key, which only programs with an object store may need, and keys that nothing here reads.
STORE_KEY = {"AWS_SECRET_ACCESS_KEY": "a-store's-secret"}
STRANGE_KEYS = {"SHAPBOX_API_KEY": "a-client's-key", "DATABASE_PASSWORD": "a-stranger's-password"}


def checkout_in(folder: Path) -> Path:
    """Copy this checkout, with a link to the environment."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "supervisord.conf", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def test_a_job_runs_under_difficult_names_and_each_program_is_given_only_the_keys_that_it_reads(
    tmp_path: Path,
) -> None:
    settings = {**SMALL_BATCHES, **KEYS, **STORE_KEY, **STRANGE_KEYS}
    checkout = checkout_in(tmp_path / f"checkout {DIFFICULT}")
    box = Appliance(tmp_path / DIFFICULT, settings, checkout=checkout)
    try:
        box.start()
        submit(box, "breast-cancer", 1200).check_completed()
        given = {name: set(process.environ().values()) for name, process in box.programs().items()}
        assert box.process is not None
        given["supervisord"] = set(box.family()[0].environ().values())
    finally:
        box.stop()
    assert "Traceback" not in box.log()
    told = {*KEYS.values(), *STORE_KEY.values(), *STRANGE_KEYS.values()}
    storing = set(STORE_KEY.values())
    expected = {
        "api": {*KEYS.values(), *storing},
        "monitor": storing,
        "worker-1": storing,
        "worker-2": storing,
    }
    assert {name: values & told for name, values in given.items()} == {
        "supervisord": set(),
        "redis": set(),
    } | expected
