"""From rows to plots: progress, ranking, downloads, and choices in an answer."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Route, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import BATCH_ROWS, OpenConsole


def download(visit: Visit, name: str) -> tuple[str, bytes]:
    """Press a button and return the name and content of the saved file."""
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=name).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def ranked(visit: Visit) -> list[tuple[str, float]]:
    cells = [line.locator("td").all_inner_texts() for line in visit.page.locator(".features tbody tr").all()]
    return [(texts[1], float(texts[3].replace("−", "-"))) for texts in cells]  # noqa: RUF001  # as the page shows it


def test_example_rows_are_explained_with_visible_progress(console: Visit, appliance: Appliance) -> None:
    total = -(-569 // BATCH_ROWS)

    def as_if_running(route: Route) -> None:  # it takes 50 ms
        batches = {"total": total, "completed": total // 3}
        route.fulfill(json=route.fetch().json() | {"status": "running", "batches": batches})

    console.use_examples("breast-cancer@1", method="interventional")
    expect(console.page.locator(".chosen")).to_contain_text("569 rows")
    expect(console.page.locator(".preview th").first).to_have_text("mean radius")
    console.page.route(re.compile(r"/v1/jobs/\w{32}(\?|$)"), as_if_running)
    console.explain()
    progress = console.page.get_by_role("progressbar", name="Completed batches")
    expect(progress).to_have_attribute("max", str(total))
    expect(console.page.get_by_text(f"{total // 3} of {total} batches done")).to_be_visible()
    expect(console.page.locator("#announcements")).to_have_text(re.compile("running, .* percent done"))
    console.page.unroute_all(behavior="ignoreErrors")

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
    summary = appliance.get(f"/v1/jobs/{job}/summary").json()["outputs"][0]["features"]
    wanted = {feature["feature"]: feature["mean_abs"] for feature in summary}
    assert len(ranked(console)) == 12
    console.page.get_by_role("button", name="Show all 30 features").click()
    shown = ranked(console)
    assert [feature for feature, _ in shown] == list(wanted)
    for feature, value in shown:
        assert abs(value - wanted[feature]) <= 0.005 * wanted[feature] + 1e-9

    for kind, accept in {"CSV": "text/csv", "NPY": "application/x-npy", "JSON": "application/json"}.items():
        given = appliance.get(f"/v1/jobs/{job}/result", headers={"Accept": accept}).body
        assert download(console, f"Download values as {kind}") == (f"shap-{job}.{kind.lower()}", given)
    for kind in ("bar", "beeswarm", "waterfall", "dependence"):
        name, drawing = download(console, f"Save {kind} plot as SVG")
        assert name == f"shap-{job}-{kind}.svg"
        assert drawing.startswith(b"<svg ")
    name, picture = download(console, "Save dependence plot as PNG")
    assert name == f"shap-{job}-dependence.png"
    assert picture.startswith(b"\x89PNG")


def test_rows_features_and_outputs_can_be_chosen(console: Visit) -> None:
    console.use_examples("wine@1")
    console.explain()
    console.see_the_answer()
    waterfall = console.page.locator("section[aria-labelledby=plot-waterfall] svg")
    row = console.page.get_by_label("Row, 0 to 44")
    console.page.get_by_role("button", name="Next row").click()
    expect(waterfall).to_contain_text("row 1")
    row.fill("44")
    expect(waterfall).to_contain_text("row 44")
    row.fill("999")
    expect(row).to_have_value("44")

    dependence = console.page.locator("section[aria-labelledby=plot-dependence] svg")
    console.page.get_by_label("Feature", exact=True).select_option("hue")
    expect(dependence).to_contain_text("SHAP value for hue")
    console.page.locator(".features").get_by_role("button", name="ash", exact=True).click()
    expect(dependence).to_contain_text("SHAP value for ash")
    expect(console.page.get_by_label("Feature", exact=True)).to_have_value("ash")

    first = ranked(console)[0][0]
    outputs = console.page.get_by_role("radiogroup", name="Output").locator("label")
    assert outputs.count() == 3
    outputs.nth(2).click()
    expect(console.page.locator(".features tbody td.feature").first).not_to_have_text(first)
    console.see_the_answer()


def test_the_address_of_a_job_leads_to_it_after_signing_in_or_shows_an_error(
    open_console: OpenConsole, appliance: Appliance
) -> None:
    body = appliance.get("/v1/models/diabetes/examples").body
    path = "/v1/jobs?model=diabetes&wait=30"
    job = appliance.call("POST", path, body, headers={"Content-Type": "text/csv"}).json()["id"]
    assert open_console(f"#/jobs/{job}").see_the_answer() == job
    lost = open_console(f"#/jobs/{'0' * 32}")
    expect(lost.page.get_by_role("alert")).to_contain_text("Job not found")
