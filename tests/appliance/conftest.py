"""Appliances for the tests of the supervised whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import SMALL_BATCHES

#: Makes an appliance with settings of its own; it is not started yet, and stopped when the test ends.
MakeAppliance = Callable[..., Appliance]
#: Shows a line of figures to the person who runs the tests, even while pytest captures output.
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run one appliance for the tests of a module."""
    running = Appliance(tmp_path_factory.mktemp("box") / "data", SMALL_BATCHES)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def make_appliance(tmp_path: Path) -> Iterator[MakeAppliance]:
    """Make appliances by `make_appliance(NAME="value", …)`, on one DATA_DIR by default."""
    made: list[Appliance] = []

    def make(cgroup: Path | None = None, **settings: str) -> Appliance:
        data_dir = Path(settings.get("DATA_DIR", tmp_path / "data"))
        made.append(Appliance(data_dir, {**SMALL_BATCHES, **settings}, cgroup))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.stop()


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    """Place faults in workers of an appliance made by `make_appliance(**faults.environment())`."""
    return Faults(tmp_path / "faults")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Show what was measured: figures that no test may depend on."""

    def show(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {line}\n")

    return show
