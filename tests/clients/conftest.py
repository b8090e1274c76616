"""One appliance with the shipped models, for all tests of its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.lab.trial_appliance import Appliance


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("box") / "data")
    running.start()
    try:
        yield running
    finally:
        running.stop()
