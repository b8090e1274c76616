"""Runs histories of the state machine from a seed on one appliance."""

from __future__ import annotations

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from ops.lab.rows import RowPool
from ops.lab.trial_appliance import Appliance
from tests.search.rest.box import Box
from tests.search.rest.machine import POOL_ROWS, RestMachine

#: Lines of the history that a failure shows.
SHOWN = 80


class Search:
    """A seed's histories. A failure names the seed and shows the last calls."""

    def __init__(self, appliance: Appliance, seed: int, restarts: int) -> None:
        self._box = Box(appliance, restarts)
        self._seed = seed

        class Machine(RestMachine):
            box = self._box
            pools = RowPool.shipped(POOL_ROWS)

        self._machine = Machine

    def run(self, histories: int, steps: int) -> None:
        """Run so many histories of at most so many steps. Raises AssertionError with the seed."""
        settings = hypothesis.settings(
            max_examples=histories,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            # A history takes seconds, and its timing cannot be repeated: it is not made smaller.
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
            print_blob=False,
        )
        try:
            run_state_machine_as_test(hypothesis.seed(self._seed)(self._machine), settings=settings)
        except BaseException as fault:
            history = "\n".join(self._box.caller.history[-SHOWN:])
            fault.add_note(f"{history}\nRepeat it by: python -m tests.search.rest --seed {self._seed}")
            raise

    def faults(self) -> int:
        """Return how many faults were made."""
        return self._box.counts.total() - self._box.counts["histories"]

    def figures(self) -> str:
        """Return how many calls and faults there were."""
        counted = [("calls", self._box.caller.calls), *sorted(self._box.counts.items())]
        return ", ".join(f"{name} {count}" for name, count in counted)
