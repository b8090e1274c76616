"""Short histories of the REST contract.

`python -m tests.search.rest --seed N` repeats them, and runs longer ones.
"""

from __future__ import annotations

from pathlib import Path

from ops.lab.trial_appliance import Appliance
from tests.search.rest.search import Search
from tests.support.faults.submitted import SMALL_BATCHES

#: Histories and the steps of each: some fifteen seconds of a processor with the appliance.
SEED, HISTORIES, STEPS = 20, 2, 30


def test_every_operation_keeps_the_contract_while_programs_are_killed_in_between(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "data", SMALL_BATCHES)
    appliance.start()
    try:
        search = Search(appliance, SEED, restarts=1)
        search.run(HISTORIES, STEPS)
        assert "Traceback" not in appliance.log()
    finally:
        appliance.stop()
    assert search.faults() > 0
