"""Models in the console: labels, methods, example rows, and refused versions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost
from shared.models.contract import Contract, Feature, Kind, Trees
from shared.models.store import ModelDraft, write_model_folder
from tests.console.conftest import OpenConsole

LABELS = ("own", "rent, shared", "flat ")
TERMS = (10, 20, 30)
ROUNDS = 5


def train(rows: np.ndarray) -> bytes:
    xgboost = import_xgboost()
    types = ["c", "float", "c"]
    target = rows[:, 0] * 3 + rows[:, 1] + (rows[:, 2] == 1) * 2
    matrix = xgboost.DMatrix(rows, target, feature_types=types, enable_categorical=True, nthread=1)
    return bytes(xgboost.train({"max_depth": 4, "nthread": 1}, matrix, ROUNDS).save_raw("ubj"))


@pytest.fixture(scope="module")
def appliance(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Run a model with categories, the same without examples, a shipped and a broken one."""
    del browser
    folder = tmp_path_factory.mktemp("box")
    models = folder / "models"
    shutil.copytree(ROOT / "models/wine", models / "wine")
    chance = np.random.default_rng(5)
    codes = chance.integers(0, 3, (200, 2))
    rows = np.column_stack([codes[:, 0], chance.normal(size=200), codes[:, 1]]).astype(np.float32)
    columns = (
        Feature("home", Kind.CATEGORY, LABELS),
        Feature("amount"),
        Feature("term", Kind.CATEGORY, TERMS),
    )
    for name, examples in (("loans", rows), ("unseen", None)):
        contract = Contract(
            name=name,
            version=1,
            sha256="",
            features=columns,
            outputs=("risk",),
            objective="reg:squarederror",
            library_version=str(import_xgboost().__version__),
            trees=Trees(ROUNDS, ROUNDS),
            training={},
        )
        write_model_folder(models, ModelDraft(contract, train(rows), examples=examples))
    shutil.copytree(models / "wine/1", models / "broken/3")  # its manifest names wine@1
    running = Appliance(folder / "data", {"MODELS_DIR": str(models)})
    running.start()
    try:
        yield running
    finally:
        running.stop()


def label_of_first_row(appliance: Appliance) -> str:
    rows = appliance.get("/v1/models/loans/examples?limit=1", headers={"Accept": "application/json"}).json()[
        "rows"
    ]
    return str(rows[0][0])


def test_categories_are_shown_by_their_labels(console: Visit, appliance: Appliance) -> None:
    label = label_of_first_row(appliance)
    assert label in LABELS
    console.use_examples("loans@1")
    expect(console.page.locator(".preview tbody td").first).to_have_text(label)
    console.explain()
    console.see_the_answer()

    assert f"{label} = home" in console.plot("waterfall")
    console.page.select_option("#feature", "home")
    below = console.page.locator("section[aria-labelledby=plot-dependence] svg text")
    for text in LABELS:
        expect(below.filter(has_text=text).first).to_be_attached()
    expect(below.filter(has_text="SHAP value for home")).to_be_attached()


def test_pasted_labels_are_explained_verbatim(console: Visit, appliance: Appliance) -> None:
    console.page.select_option("#model", "loans@1")
    console.page.get_by_role("button", name="Paste rows").click()
    console.page.get_by_label("Rows as CSV").fill('amount,term,home\n0.5,20,"rent, shared"\n1.5,30,flat ')
    console.page.get_by_role("button", name="Use these rows").click()
    expect(console.page.locator(".preview tbody td").nth(2)).to_have_text("rent, shared")
    console.explain()
    job = console.see_the_answer()
    assert appliance.get(f"/v1/jobs/{job}").json()["rows"] == 2
    # The trailing space belongs to the label.
    waterfall = appliance.get(f"/v1/jobs/{job}/plots/waterfall?row=1").body.decode()
    assert ">flat  = </tspan>home<" in waterfall


def test_an_unknown_label_is_reported_with_the_known_ones(console: Visit) -> None:
    console.page.select_option("#model", "loans@1")
    console.page.get_by_role("button", name="Paste rows").click()
    console.page.get_by_label("Rows as CSV").fill("home,amount,term\ncastle,0.5,20")
    console.page.get_by_role("button", name="Use these rows").click()
    console.explain()
    alert = console.page.get_by_role("alert")
    expect(alert.locator("tbody td").nth(1)).to_have_text("home")
    expect(alert).to_contain_text("castle")
    expect(alert).to_contain_text("rent, shared")


def test_only_available_methods_are_offered(console: Visit) -> None:
    interventional = console.page.locator("label:has(input[value=interventional])")
    console.page.select_option("#model", "wine@1")
    interventional.click()
    expect(console.page.get_by_label("Interventional")).to_be_checked()

    console.page.select_option("#model", "loans@1")
    expect(interventional).to_be_hidden()
    expect(console.page.get_by_label("Path dependent")).to_be_checked()
    choices = console.page.locator(".choices")
    expect(choices).to_contain_text("3 features, 1 output, 2 categories")
    expect(choices).to_contain_text("Interventional is not offered: ")
    expect(choices).to_contain_text("background rows")
    console.use_examples("loans@1")
    console.explain()
    console.see_the_answer()


def test_example_rows_are_offered_only_for_a_model_with_examples(console: Visit) -> None:
    use = console.page.get_by_role("button", name="Use example rows")
    console.page.select_option("#model", "unseen@1")
    expect(use).to_be_hidden()
    expect(console.page.get_by_text("Choose a file")).to_be_visible()
    console.page.select_option("#model", "loans@1")
    expect(use).to_be_visible()


def test_a_refused_version_is_listed_with_its_reason_but_not_selectable(console: Visit) -> None:
    option = console.page.locator("#model option", has_text="broken")
    expect(option).to_have_text("broken · version 3 · refused")
    expect(option).to_be_disabled()
    expect(console.page.locator("#model")).to_have_value("loans@1")  # the first that is not refused

    refused = console.page.locator(".refused")
    expect(refused).to_contain_text("1 version refused")
    refused.locator("summary").click()
    expect(refused.locator("li")).to_contain_text("broken · version 3: ")
    expect(refused.locator("li")).to_contain_text("says it is wine@1")


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(
    open_console: OpenConsole, appliance: Appliance, width: int, theme: str
) -> None:
    visit = open_console(viewport={"width": width, "height": 900}, color_scheme=theme)
    visit.sign_in(appliance.api_key)
    visit.at_home()
    visit.page.locator(".refused summary").click()
    assert visit.overflow() <= 0
    visit.use_examples("loans@1")
    visit.explain()
    visit.see_the_answer()
    assert visit.overflow() <= 0
