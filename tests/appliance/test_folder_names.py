"""A data folder whose name has characters that programs read as something else."""

from __future__ import annotations

from pathlib import Path

from tests.appliance.conftest import MakeAppliance
from tests.support.faults.submitted import submit


def test_a_job_runs_in_a_folder_with_a_difficult_name(make_appliance: MakeAppliance, tmp_path: Path) -> None:
    name = "a b=c%d%(e)s\"f'gü;#\\"
    box = make_appliance(DATA_DIR=str(tmp_path / name))
    box.start()
    submit(box, "breast-cancer", 1200).check_completed()
    assert "Traceback" not in box.log()
