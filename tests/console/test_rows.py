"""Choosing a model and rows in the console, and what it says of wrong ones."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from playwright.sync_api import expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import LABELS

#: Drops a file onto the page.
DROP = """([zone, name, content]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
  for (const type of ["dragover", "drop"])
    document.querySelector(zone).dispatchEvent(
      new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def drop(visit: Visit, name: str, content: bytes) -> None:
    visit.page.evaluate(DROP, [".drop", name, base64.b64encode(content).decode()])


def paste(visit: Visit, text: str) -> None:
    visit.page.get_by_role("button", name="Paste rows").click()
    visit.page.get_by_label("Rows as CSV").fill(text)
    visit.page.get_by_role("button", name="Use these rows").click()


def test_dropped_and_pasted_rows_are_explained(console: Visit, appliance: Appliance) -> None:
    console.page.select_option("#model", "diabetes@1")
    drop(console, "patients.csv", appliance.get("/v1/models/diabetes/examples?limit=30").body)
    expect(console.page.locator(".chosen")).to_contain_text("patients.csv")
    expect(console.page.locator(".preview tbody tr")).to_have_count(4)
    console.explain()
    job = console.see_the_answer()
    assert appliance.get(f"/v1/jobs/{job}").json()["rows"] == 30

    console.page.get_by_role("link", name="All jobs").click()
    console.page.select_option("#model", "loans@1")
    paste(console, 'amount,term,home\n0.5,20,"rent, shared"\n1.5,30,flat ')
    expect(console.page.locator(".chosen")).to_contain_text("2 rows")
    expect(console.page.locator(".preview tbody td").nth(2)).to_have_text("rent, shared")
    console.explain()
    expect(console.page).not_to_have_url(f"**/{job}")
    job = console.see_the_answer()
    assert appliance.get(f"/v1/jobs/{job}").json()["rows"] == 2
    # The trailing space belongs to the label.
    waterfall = appliance.get(f"/v1/jobs/{job}/plots/waterfall?row=1").body.decode()
    assert ">flat  = </tspan>home<" in waterfall
    console.page.select_option("#feature", "home")
    below = console.page.locator("section[aria-labelledby=plot-dependence] svg text")
    for text in (*LABELS[1:], "SHAP value for home"):
        expect(below.filter(has_text=text).first).to_be_attached()


def test_an_invalid_cell_is_reported_and_nothing_is_queued(
    console: Visit, appliance: Appliance, tmp_path: Path
) -> None:
    before = appliance.get("/v1/jobs").json()["jobs"]
    lines = appliance.get("/v1/models/diabetes/examples?limit=30").body.decode().splitlines()
    cells = lines[8].split(",")
    lines[8] = ",".join([*cells[:2], "heavy", *cells[3:]])
    (tmp_path / "patients.csv").write_text("\n".join(lines))
    console.page.select_option("#model", "diabetes@1")
    console.choose_file(tmp_path / "patients.csv")
    console.explain()
    alert = console.page.get_by_role("alert")
    expect(alert).to_contain_text("Some rows are invalid")
    expect(alert.locator("tbody td")).to_have_text(
        ["7", "bmi", "'heavy' is not a number; encode it as in the training data"]
    )
    expect(console.page.get_by_role("button", name="Explain", exact=True)).to_be_enabled()
    assert appliance.get("/v1/jobs").json()["jobs"] == before

    console.page.get_by_role("button", name="Other rows").click()
    console.page.select_option("#model", "loans@1")
    paste(console, "home,amount,term\ncastle,0.5,20")
    console.explain()
    expect(alert.locator("tbody td").nth(1)).to_have_text("home")
    expect(alert).to_contain_text("rent, shared")


def test_another_file_is_refused_immediately_and_markup_stays_text(console: Visit) -> None:
    drop(console, "letter.docx", b"PK")
    expect(console.page.get_by_role("alert")).to_contain_text("Save the rows as CSV")
    evil = "<img src=x onerror=alert(1)>"
    drop(console, f"{evil}.csv", f"{evil},b\n<b>1</b>,2\n".encode())
    expect(console.page.locator(".chosen strong")).to_have_text(f"{evil}.csv")
    expect(console.page.locator(".preview th").first).to_have_text(evil)
    console.explain()
    expect(console.page.get_by_role("alert")).to_contain_text(evil)
    assert console.page.locator("main img").count() == 0


def test_only_available_versions_methods_and_examples_are_offered(console: Visit) -> None:
    option = console.page.locator("#model option", has_text="broken")
    expect(option).to_have_text("broken · version 3 · refused")
    expect(option).to_be_disabled()
    refused = console.page.locator(".refused")
    expect(refused).to_contain_text("1 version refused")
    refused.locator("summary").click()
    expect(refused.locator("li")).to_contain_text("says it is wine@1")

    interventional = console.page.locator("label:has(input[value=interventional])")
    console.page.select_option("#model", "wine@1")
    interventional.click()
    expect(console.page.get_by_label("Interventional")).to_be_checked()
    console.page.select_option("#model", "loans@1")
    expect(interventional).to_be_hidden()
    expect(console.page.get_by_label("Path dependent")).to_be_checked()
    choices = console.page.locator(".choices")
    expect(choices).to_contain_text("3 features, 1 output, 1 category")
    expect(choices).to_contain_text(re.compile("Interventional is not offered: .*background rows"))

    console.page.select_option("#model", "unseen@1")
    expect(console.page.get_by_role("button", name="Use example rows")).to_be_hidden()
    expect(console.page.get_by_text("Choose a file")).to_be_visible()
    console.use_examples("diabetes@1")
    console.page.select_option("#model", "wine@1")  # examples of another model are not kept
    expect(console.page.locator(".drop")).to_be_visible()
