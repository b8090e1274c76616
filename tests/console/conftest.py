"""The console in a real Chromium, on a supervised appliance. Skipped without a Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
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
#: Rows of a batch: few, so that a job of examples has several batches and shows progress.
BATCH_ROWS = 50
#: Labels of the model with categories, and its trees.
LABELS, TERMS, ROUNDS = ("own", "rent, shared", "flat "), (10, 20, 30), 5

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


def train(rows: np.ndarray) -> bytes:
    xgboost = import_xgboost()
    types = ["c", "float", "c"]
    target = rows[:, 0] * 3 + rows[:, 1] + (rows[:, 2] == 1) * 2
    matrix = xgboost.DMatrix(rows, target, feature_types=types, enable_categorical=True, nthread=1)
    return bytes(xgboost.train({"max_depth": 4, "nthread": 1}, matrix, ROUNDS).save_raw("ubj"))


def add_models(models: Path) -> None:
    """Add three models to the shipped ones.

    One has categories, one is the same without examples, and one is broken.
    """
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    chance = np.random.default_rng(5)
    codes = chance.integers(0, 3, (200, 2))
    rows = np.column_stack([codes[:, 0], chance.normal(size=200), codes[:, 1]]).astype(np.float32)
    home, term = Feature("home", Kind.CATEGORY, LABELS), Feature("term", Kind.CATEGORY, TERMS)
    for name, examples in (("loans", rows), ("unseen", None)):
        contract = Contract(
            name=name,
            version=1,
            sha256="",
            features=(home, Feature("amount"), term),
            outputs=("risk",),
            objective="reg:squarederror",
            library_version=str(import_xgboost().__version__),
            trees=Trees(ROUNDS, ROUNDS),
            training={},
        )
        write_model_folder(models, ModelDraft(contract, train(rows), examples=examples))
    shutil.copytree(models / "wine/1", models / "broken/3")  # its manifest names wine@1


@pytest.fixture(scope="session")
def appliance(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run one appliance for all tests of the console."""
    del browser  # without one there is no need to boot
    folder = tmp_path_factory.mktemp("box")
    add_models(folder / "models")
    settings = {"BATCH_ROWS": str(BATCH_ROWS), "MODELS_DIR": str(folder / "models")}
    running = Appliance(folder / "data", settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


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
