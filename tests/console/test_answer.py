from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Download, Locator, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import BATCH_ROWS, OpenConsole, stopped


def download(visit: Visit, name: str) -> tuple[str, bytes]:
    """Press a button and return the name and content of the saved file."""
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=name).click()
    saved: Download = waiting.value
    return saved.suggested_filename, Path(saved.path()).read_bytes()


def mean_abs(summary: dict[str, object]) -> dict[str, float]:
    outputs = summary["outputs"]
    assert isinstance(outputs, list)
    return {feature["feature"]: feature["mean_abs"] for feature in outputs[0]["features"]}


def ranked(visit: Visit) -> list[tuple[str, float]]:
    lines: list[Locator] = visit.page.locator(".features tbody tr").all()
    cells = [line.locator("td").all_inner_texts() for line in lines]
    return [(texts[1], float(texts[3].replace("−", "-"))) for texts in cells]  # noqa: RUF001  # as the page shows it


def resume_for_some_batches(appliance: Appliance, wanted: int) -> None:
    """Resume one stopped worker until this many batches are completed, or a few more."""
    worker = appliance.worker_pids()[0]
    deadline = time.monotonic() + 60
    while completed(appliance) < wanted:
        assert time.monotonic() < deadline
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.004)
        os.kill(worker, signal.SIGSTOP)


def completed(appliance: Appliance) -> int:
    """Return the number of completed batches of all running jobs."""
    return sum(job["batches"]["completed"] for job in appliance.get("/v1/jobs?status=running").json()["jobs"])


def test_example_rows_are_explained_with_visible_progress(console: Visit, appliance: Appliance) -> None:
    console.use_examples("breast-cancer@1", method="interventional")
    expect(console.page.locator(".chosen")).to_contain_text("569 rows")
    expect(console.page.locator(".preview th").first).to_have_text("mean radius")
    progress = console.page.get_by_role("progressbar", name="Completed batches")
    total = -(-569 // BATCH_ROWS)
    with stopped(*appliance.worker_pids()):  # otherwise the job takes 50 ms
        console.explain()
        expect(progress).to_have_attribute("max", str(total))
        resume_for_some_batches(appliance, total // 4)  # a quarter is announced
        expect(console.page.get_by_text(re.compile(rf"[1-9]\d* of {total} batches done"))).to_be_visible()
        expect(console.page.locator("#announcements")).to_have_text(re.compile("running, .* percent done"))

    job = console.see_the_answer()
    document = appliance.get(f"/v1/jobs/{job}").json()
    assert (document["status"], document["rows"], document["method"]) == ("completed", 569, "interventional")
    assert "Sum of" in console.plot("beeswarm")
    assert "row 0" in console.plot("waterfall")


def test_the_ranking_equals_the_summary_and_values_and_plots_can_be_saved(
    console: Visit, appliance: Appliance
) -> None:
    console.use_examples("breast-cancer@1")
    console.explain()
    job = console.see_the_answer()
    wanted = mean_abs(appliance.get(f"/v1/jobs/{job}/summary").json())
    assert len(ranked(console)) == 12
    console.page.get_by_role("button", name="Show all 30 features").click()
    shown = ranked(console)
    assert [feature for feature, _ in shown] == list(wanted)
    for feature, value in shown:
        assert abs(value - wanted[feature]) <= 0.005 * wanted[feature] + 1e-9

    def given(accept: str) -> bytes:
        return appliance.get(f"/v1/jobs/{job}/result", headers={"Accept": accept}).body

    name, table = download(console, "Download values as CSV")
    assert (name, table) == (f"shap-{job}.csv", given("text/csv"))
    name, array = download(console, "Download values as NPY")
    assert name.endswith(".npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(array)), np.load(io.BytesIO(given("application/x-npy"))))
    _, text = download(console, "Download values as JSON")
    assert json.loads(text) == json.loads(given("application/json"))
    for kind in ("bar", "beeswarm", "waterfall", "dependence"):
        name, drawing = download(console, f"Save {kind} plot as SVG")
        assert name == f"shap-{job}-{kind}.svg"
        assert drawing.startswith(b"<svg ")
    name, picture = download(console, "Save dependence plot as PNG")
    assert name == f"shap-{job}-dependence.png"
    assert picture.startswith(b"\x89PNG")


def test_a_row_and_a_feature_can_be_chosen(console: Visit) -> None:
    console.use_examples("diabetes@1")
    console.explain()
    console.see_the_answer()
    first = console.plot("waterfall")
    waterfall = console.page.locator("section[aria-labelledby=plot-waterfall] svg")
    row = console.page.get_by_label("Row, 0 to 110")
    console.page.get_by_role("button", name="Next row").click()
    expect(waterfall).to_contain_text("row 1")
    row.fill("110")
    expect(waterfall).to_contain_text("row 110")
    assert console.plot("waterfall") != first
    row.fill("999")
    expect(row).to_have_value("110")

    dependence = console.page.locator("section[aria-labelledby=plot-dependence] svg")
    console.page.get_by_label("Feature", exact=True).select_option("bp")
    expect(dependence).to_contain_text("SHAP value for bp")
    console.page.locator(".features").get_by_role("button", name="s5", exact=True).click()
    expect(dependence).to_contain_text("SHAP value for s5")
    expect(console.page.get_by_label("Feature", exact=True)).to_have_value("s5")


def test_each_of_several_outputs_can_be_shown(console: Visit) -> None:
    console.use_examples("wine@1")
    console.explain()
    console.see_the_answer()
    before = ranked(console)
    outputs = console.page.get_by_role("radiogroup", name="Output").locator("label")
    assert outputs.count() == 3
    outputs.nth(2).click()
    expect(console.page.locator(".features tbody td.feature").first).not_to_have_text(before[0][0])
    console.see_the_answer()


def test_the_address_of_a_job_leads_to_it_after_signing_in_or_shows_an_error(
    open_console: OpenConsole, appliance: Appliance
) -> None:
    body = appliance.get("/v1/models/diabetes/examples").body
    job = appliance.call(
        "POST", "/v1/jobs?model=diabetes&wait=30", body, headers={"Content-Type": "text/csv"}
    ).json()
    visit = open_console(f"#/jobs/{job['id']}")
    visit.sign_in(appliance.api_key)
    assert visit.see_the_answer() == job["id"]
    visit = open_console(f"#/jobs/{'0' * 32}")
    visit.sign_in(appliance.api_key)
    expect(visit.page.get_by_role("alert")).to_contain_text("Job not found")
