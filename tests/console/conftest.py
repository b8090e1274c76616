"""The console in a real Chromium, on a supervised appliance. Skipped without a Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from ops.console_visit import PATIENCE, Visit, chromium, find_chromium
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from shared.models.contract import Feature, Kind
from shared.models.store import ModelDraft, write_model_folder
from tests.support.activated import contract_of
from tests.support.boosters import train

#: Set where a missing Chromium is a failure (.ci/run).
REQUIRED = "SHAPBOX_CONSOLE_TESTS"
#: Rows of a batch: few, so that a job of examples has several batches.
BATCH_ROWS = 50
#: Labels of the model with categories.
LABELS = ("own", "rent, shared", "flat ")

#: Opens a console in a new browser context, signed in unless `key` is None; options such as color_scheme="dark".
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


def add_models(models: Path) -> None:
    """Add a model with categories, one without examples and a broken one to the shipped models."""
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    booster, rows = train(4, 5, 3, categories=len(LABELS))
    features = (Feature("home", Kind.CATEGORY, LABELS), Feature("amount"), Feature("term"))
    for name, examples in (("loans", rows), ("unseen", None)):
        contract = contract_of(booster, name, features=features)
        write_model_folder(models, ModelDraft(contract, bytes(booster.save_raw("ubj")), examples=examples))
    shutil.copytree(models / "wine/1", models / "broken/3")  # its manifest names wine@1


@pytest.fixture(scope="session")
def appliance(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run one appliance for all tests of the console."""
    del browser  # without one there is no need to boot
    folder = tmp_path_factory.mktemp("box")
    add_models(folder / "models")
    running = Appliance(
        folder / "data", {"BATCH_ROWS": str(BATCH_ROWS), "MODELS_DIR": str(folder / "models")}
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def open_console(browser: Browser, appliance: Appliance) -> Iterator[OpenConsole]:
    """Open consoles. Fails if one of them logged an error or left the appliance's address."""
    visits: list[Visit] = []

    def open_it(
        place: str = "", *, url: str = appliance.url, key: str | None = appliance.api_key, **options: Any
    ) -> Visit:
        context = contexts.enter_context(
            browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        )
        visit = Visit(context.new_page(), url)
        visits.append(visit)
        visit.open(place)
        if key is not None:
            visit.sign_in(key)
        if key is not None and not place:
            visit.at_home()
        return visit

    with ExitStack() as contexts:
        yield open_it
    assert [fault for visit in visits for fault in visit.faults] == []


@pytest.fixture
def console(open_console: OpenConsole) -> Visit:
    """Open one, and sign in."""
    return open_console()
