from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance

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


def test_a_dropped_csv_file_is_explained(console: Visit, appliance: Appliance, csv_file: Path) -> None:
    console.page.select_option("#model", "diabetes@1")
    drop(console, csv_file.name, csv_file.read_bytes())
    expect(console.page.locator(".chosen")).to_contain_text("patients.csv")
    expect(console.page.locator(".preview tbody tr")).to_have_count(4)
    console.explain()
    job = console.see_the_answer()
    assert appliance.get(f"/v1/jobs/{job}").json()["rows"] == 30


def test_pasted_rows_are_explained(console: Visit, appliance: Appliance, csv_file: Path) -> None:
    console.page.select_option("#model", "diabetes@1")
    console.page.get_by_role("button", name="Paste rows").click()
    console.page.get_by_label("Rows as CSV").fill("\n".join(csv_file.read_text().splitlines()[:4]))
    console.page.get_by_role("button", name="Use these rows").click()
    expect(console.page.locator(".chosen")).to_contain_text("3 rows")
    console.explain()
    job = console.see_the_answer()
    assert appliance.get(f"/v1/jobs/{job}").json()["rows"] == 3


def test_an_invalid_cell_is_reported_and_nothing_is_queued(
    console: Visit, appliance: Appliance, csv_file: Path
) -> None:
    before = appliance.get("/v1/jobs").json()["jobs"]
    lines = csv_file.read_text().splitlines()
    cells = lines[8].split(",")
    lines[8] = ",".join([*cells[:2], "heavy", *cells[3:]])
    csv_file.write_text("\n".join(lines))
    console.page.select_option("#model", "diabetes@1")
    console.choose_file(csv_file)
    console.explain()

    alert = console.page.get_by_role("alert")
    expect(alert).to_contain_text("Some rows are invalid")
    expect(alert.locator("tbody td")).to_have_text(
        ["7", "bmi", "'heavy' is not a number; encode it as in the training data"]
    )
    expect(console.page.get_by_role("button", name="Explain", exact=True)).to_be_enabled()
    assert appliance.get("/v1/jobs").json()["jobs"] == before


def test_an_unsupported_file_is_refused_immediately(console: Visit) -> None:
    drop(console, "letter.docx", b"PK")
    expect(console.page.get_by_role("alert")).to_contain_text("Save the rows as CSV")


def test_markup_in_names_and_cells_stays_text(console: Visit) -> None:
    evil = "<img src=x onerror=alert(1)>"
    drop(console, f"{evil}.csv", f"{evil},b\n<b>1</b>,2\n".encode())
    expect(console.page.locator(".chosen strong")).to_have_text(f"{evil}.csv")
    expect(console.page.locator(".preview th").first).to_have_text(evil)
    console.explain()
    expect(console.page.get_by_role("alert")).to_contain_text(evil)
    assert console.page.locator("main img").count() == 0


def test_examples_of_another_model_are_not_kept(console: Visit) -> None:
    console.use_examples("diabetes@1")
    console.page.select_option("#model", "wine@1")
    expect(console.page.locator(".drop")).to_be_visible()
