"""The console in a real Chromium, on a supervised appliance. Skipped without a Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from ops.console_visit import PATIENCE, Visit, chromium, find_chromium
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost
from shared.models.contract import Contract, Feature, Kind, Trees
from shared.models.store import ModelDraft, write_model_folder

#: Set where a missing Chromium is a failure (.ci/run).
REQUIRED = "SHAPBOX_CONSOLE_TESTS"
#: Rows of a batch: few, so that a job of examples has several batches.
BATCH_ROWS = 50
#: Labels of the model with categories, and its trees.
LABELS, TERMS, ROUNDS = ("own", "rent, shared", "flat "), (10, 20, 30), 5

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
    """Add three models to the shipped ones.

    One has categories, one is the same without examples, and one is broken.
    """
    xgboost = import_xgboost()
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    chance = np.random.default_rng(5)
    home, amount, term = chance.integers(0, 3, 200), chance.normal(size=200), chance.integers(0, 3, 200)
    rows, target = np.column_stack([home, amount, term]), home * 3 + amount + (term == 1) * 2
    kinds = {"feature_types": ["c", "float", "c"], "enable_categorical": True}
    matrix = xgboost.DMatrix(rows, target, nthread=1, **kinds)
    model = bytes(xgboost.train({"max_depth": 4, "nthread": 1}, matrix, ROUNDS).save_raw("ubj"))
    labelled = (
        Feature("home", Kind.CATEGORY, LABELS),
        Feature("amount"),
        Feature("term", Kind.CATEGORY, TERMS),
    )
    loans = Contract(
        name="loans",
        version=1,
        sha256="",
        features=labelled,
        outputs=("risk",),
        objective="reg:squarederror",
        library_version=str(xgboost.__version__),
        trees=Trees(ROUNDS, ROUNDS),
        training={},
    )
    write_model_folder(models, ModelDraft(loans, model, examples=rows.astype(np.float32)))
    write_model_folder(models, ModelDraft(replace(loans, name="unseen"), model))
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
    """Open consoles. Fails if one of them logged an error or contacted another host."""
    visits: list[Visit] = []

    def open_it(place: str = "", *, key: str | None = appliance.api_key, **options: Any) -> Visit:
        context = contexts.enter_context(
            browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        )
        visit = Visit(context.new_page(), appliance.url)
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
