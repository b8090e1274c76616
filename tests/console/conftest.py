"""The console in a real Chromium, on a supervised appliance. Skipped without a Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from ops.console_visit import PATIENCE, Visit, chromium, find_chromium
from ops.lab.trial_appliance import Appliance

#: Set where a missing Chromium is a failure (.ci/run).
REQUIRED = "SHAPBOX_CONSOLE_TESTS"
#: Rows of a batch: few, so that a job of examples has several batches and shows progress.
BATCH_ROWS = 50

#: Opens a console in a new browser context with options such as color_scheme="dark".
OpenConsole = Callable[..., Visit]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        said = "there is no chromium (apt-get install chromium fonts-dejavu-core)"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"{REQUIRED}=required, and {said}")
        pytest.skip(f"{said}: the console is not tested")
    expect.set_options(timeout=PATIENCE)
    with chromium(path) as running:
        yield running


@pytest.fixture(scope="session")
def appliance(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run one appliance for all tests of the console."""
    del browser  # without one there is no need to boot
    settings = {"BATCH_ROWS": str(BATCH_ROWS)}
    running = Appliance(tmp_path_factory.mktemp("box") / "data", settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def open_console(browser: Browser, appliance: Appliance) -> Iterator[OpenConsole]:
    """Open consoles. Fails if one of them logged an error or contacted another host."""
    contexts = []
    visits: list[Visit] = []

    def open_it(place: str = "", **options: Any) -> Visit:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        visits.append(Visit(contexts[-1].new_page(), appliance.url))
        visits[-1].open(place)
        return visits[-1]

    try:
        yield open_it
    finally:
        for context in contexts:
            context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


@pytest.fixture
def console(open_console: OpenConsole, appliance: Appliance) -> Visit:
    """Open one, and sign in."""
    visit = open_console()
    visit.sign_in(appliance.api_key)
    visit.at_home()
    return visit


@pytest.fixture
def csv_file(appliance: Appliance, tmp_path: Path) -> Path:
    """Write a CSV file of 30 example rows."""
    path = tmp_path / "patients.csv"
    path.write_bytes(appliance.get("/v1/models/diabetes/examples?limit=30").body)
    return path
