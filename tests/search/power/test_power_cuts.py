"""With DURABILITY=power, no power cut loses a job that a client knows, or stops a start."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.lab.preload import compiled
from ops.lab.trial_appliance import Appliance
from tests.search.power.power_cut import Kept
from tests.search.power.recording import SETTINGS, Cut, Recording, record, violations
from tests.search.power.write_log import Kind, Record
from tests.support.client import the_model
from tests.support.faults.submitted import Submitted

#: Cuts that are checked, runs of the appliance that are recorded, and cuts after which a whole appliance is started:
#: `make nightly` takes more.
CUTS, RUNS, STARTS = (
    int(os.environ.get(f"POWER_{name}", default))
    for name, default in (("CUTS", 30), ("RUNS", 1), ("STARTS", 1))
)
#: Cuts within which a forgotten sync must be found.
ENOUGH = 200


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    """Record an appliance, in a folder with a short path, below which unix sockets fit."""
    folder = Path(tempfile.mkdtemp(prefix="shapbox-"))
    library = compiled(Path(__file__).with_name("recorder.c"), folder)
    if library is None:
        pytest.skip("there is no C compiler")
    yield record(folder, library, RUNS)
    shutil.rmtree(folder)


def test_no_cut_loses_a_job(recording: Recording) -> None:
    for seed in range(CUTS):
        cut = Cut.by_seed(seed, recording.records)
        assert not violations(recording, cut), cut


def test_a_whole_appliance_ends_the_jobs_that_a_cut_left(recording: Recording) -> None:
    for seed in range(STARTS):
        marks = [number + 1 for number, one in enumerate(recording.records) if one.kind is Kind.MARK]
        cut = Cut(random.Random(seed).choice(marks[2:]), journal=False, kept=Kept.NOTHING, seed=seed)
        data = recording.folder / f"started-{seed}"
        cut.make(recording, data)
        box = Appliance(data, SETTINGS)
        box.start()
        try:
            for job_id in recording.known_before(cut.at):
                Submitted(box, job_id, the_model(), recording.rows[job_id]).check_completed()
        finally:
            box.stop()


@pytest.mark.parametrize("forgotten", ["files", "folders"])
def test_a_forgotten_sync_is_found(recording: Recording, forgotten: str) -> None:
    folders = {recording.log.root, *(one.second for one in recording.records if one.kind is Kind.MKDIR)}
    kept = [one for one in recording.records if not is_sync_of(one, folders, files=forgotten == "files")]
    forgetful = Recording(
        recording.folder, recording.log, recording.rows, recording.values, kept, recording.key
    )
    cuts = (Cut.by_seed(seed, kept) for seed in range(ENOUGH))
    assert any(violations(forgetful, cut) for cut in cuts)


def is_sync_of(one: Record, folders: set[int], *, files: bool) -> bool:
    """Return whether a record is of a sync of files, or else of folders."""
    return one.kind in {Kind.SYNC, Kind.SYNCED} and (one.first not in folders) is files
