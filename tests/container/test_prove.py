"""The proof of the container sees wrong values, and a container without workers."""

from __future__ import annotations

import pytest

from ops.container.box import Box
from ops.container.engine import DockerError
from ops.lab.prove.__main__ import prove_load
from ops.lab.reference import example_rows
from shapbox import NoAnswerError, Shapbox
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.container.conftest import MakeBox
from tests.support.faults.placing import STARTUP
from tests.support.faults.submitted import PATIENCE, eventually

#: Changes the programs in the container as they start.
MOUNT, PATH = f"--volume={STARTUP}:{STARTUP}:ro", {"PYTHONPATH": str(STARTUP)}


def test_the_proof_names_a_wrong_value(make_box: MakeBox) -> None:
    box = make_box(MOUNT, **PATH, SHAPBOX_TEST_WRONG_VALUES="breast-cancer=swap")
    box.run()
    box.await_ready(PATIENCE)
    version = ModelCatalog.load(ROOT / "models").get("breast-cancer")
    faults = prove_load(box, version, example_rows(version, 2000), minutes=0.1)
    assert "2000 rows are wrong; row 0, column 0" in faults[0]


def test_a_container_whose_worker_never_starts_is_not_ready(make_box: MakeBox) -> None:
    box = make_box(MOUNT, **PATH, SHAPBOX_TEST_NO_WORKER="1")
    box.run()
    eventually(lambda: answers(box), box.log_tail)
    with pytest.raises(DockerError, match="not ready"):
        box.await_ready(5)
    assert not box.get("/readyz").json()["probes"]["workers"]["ok"]


def answers(box: Box) -> bool:
    """Return whether the api answers; its keys may not be there yet."""
    try:
        return Shapbox(box.url, "").call("GET", "/readyz").status > 0
    except NoAnswerError:
        return False
