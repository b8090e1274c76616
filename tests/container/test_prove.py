"""The proof of the container sees wrong values, and a container without workers."""

from __future__ import annotations

import pytest

from ops.container.engine import DockerError
from ops.lab.prove import prove_load
from ops.lab.reference import example_rows
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.container.conftest import MakeBox
from tests.support.faults.placing import STARTUP
from tests.support.faults.submitted import PATIENCE, eventually


def test_the_proof_names_a_wrong_value_and_a_container_whose_worker_never_starts_is_not_ready(
    make_box: MakeBox,
) -> None:
    changed = {"PYTHONPATH": str(STARTUP), "SHAPBOX_TEST_WRONG_VALUES": "breast-cancer=swap"}
    wrong, idle = (
        make_box(f"--volume={STARTUP}:{STARTUP}:ro", **changed, SHAPBOX_TEST_NO_WORKER=which)
        for which in ("", "1")
    )
    idle.run()
    wrong.run()
    wrong.await_ready(PATIENCE)
    version = ModelCatalog.load(ROOT / "models").get("breast-cancer")
    faults = prove_load(wrong, version, example_rows(version, 2000), minutes=0.1)
    assert "2000 rows are wrong; row 0, column 0" in faults[0]

    eventually(lambda: "the api listens" in idle.log(), idle.log_tail)
    with pytest.raises(DockerError, match="not ready"):
        idle.await_ready(2)
    assert not idle.get("/readyz").json()["probes"]["workers"]["ok"]
