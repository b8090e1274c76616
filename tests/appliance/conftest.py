"""Appliances for the tests of the supervised whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.trial_appliance import Appliance

#: Makes an appliance with settings of its own; it is not started yet, and stopped when the test ends.
MakeAppliance = Callable[..., Appliance]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run one appliance for the tests of a module."""
    running = Appliance(tmp_path_factory.mktemp("box") / "data")
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def make_appliance(tmp_path: Path) -> Iterator[MakeAppliance]:
    """Make appliances by `make_appliance(NAME="value", …)`, on one DATA_DIR unless DATA_DIR is given."""
    made: list[Appliance] = []

    def make(**settings: str) -> Appliance:
        data_dir = Path(settings.get("DATA_DIR", tmp_path / "data"))
        made.append(Appliance(data_dir, settings))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.stop()
