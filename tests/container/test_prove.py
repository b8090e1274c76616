"""The proof of the container sees wrong values, and a container without workers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ops.container.engine import DockerError
from ops.lab.prove.__main__ import prove_load
from ops.lab.reference import example_rows
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.container.conftest import MakeBox
from tests.support.faults.placing import STARTUP

#: Changes the programs in the container as they start.
MOUNT, PATH = f"--volume={STARTUP}:{STARTUP}:ro", {"PYTHONPATH": str(STARTUP)}


def box_with(make_box: MakeBox, fault: Mapping[str, str], seconds: float) -> list[str]:
    box = make_box(MOUNT, **PATH, **fault)
    box.run()
    box.await_ready(seconds)
    version = ModelCatalog.load(ROOT / "models").get("breast-cancer")
    return prove_load(box, version, example_rows(version, 2000), minutes=0.1)


def test_the_proof_names_a_wrong_value(make_box: MakeBox) -> None:
    faults = box_with(make_box, {"SHAPBOX_TEST_WRONG_VALUES": "breast-cancer=swap"}, 120)
    assert "2000 rows are wrong; row 0, column 0" in faults[0]


def test_the_proof_fails_where_no_worker_starts(make_box: MakeBox) -> None:
    with pytest.raises(DockerError, match="not ready"):
        box_with(make_box, {"SHAPBOX_TEST_NO_WORKER": "1"}, 15)
