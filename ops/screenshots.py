"""`python -m ops.screenshots`: pictures of the console, for the documentation.

Boots an appliance of its own, in a memory cgroup of 512 MB where it may make one, gives it work, and looks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

from ops.console_visit import Visit, chromium, find_chromium
from ops.lab.trial_appliance import Appliance, memory_cgroup
from shared.build import ROOT

#: Windows by name: width and height in pixels.
WINDOWS = {"wide": (1280, 900), "narrow": (390, 844), "tall": (1280, 1120)}
THEMES = ("light", "dark")
#: The model that is explained in the pictures.
MODEL = "breast-cancer@1"
#: Seconds until the monitor has measured the disk, and until the large job is pictured; copies of the example rows in it.
MEASURE_SECONDS, WORK_SECONDS, COPIES = 50, 3, 240
#: The models that were explained before.
EARLIER = ("diabetes", "wine", "diabetes")


def main() -> int:
    """Take all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    path = find_chromium()
    if path is None:
        sys.stderr.write("There is no Chromium: apt-get install chromium fonts-inter\n")
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="shapbox-") as home,
        memory_cgroup("pictures", 512) as cgroup,
        chromium(path) as browser,
    ):
        appliance = Appliance(Path(home) / "data", cgroup=cgroup)
        appliance.start()
        try:
            _fill(appliance)
            for theme in THEMES:
                for window in ("wide", "narrow"):
                    _picture_answer(browser, appliance, theme, window, folder)
                _picture_work(browser, appliance, theme, folder)
        finally:
            appliance.stop()
    return 0


def _fill(appliance: Appliance) -> None:
    """Explain some rows, so that there is something to see."""
    for model in EARLIER:
        rows = appliance.get(f"/v1/models/{model}/examples?limit=1000").body
        path = f"/v1/jobs?model={model}&wait=60"
        appliance.call("POST", path, rows, headers={"Content-Type": "text/csv"})


def _picture_answer(browser: Browser, appliance: Appliance, theme: str, window: str, folder: Path) -> None:
    visit = _visit(browser, appliance, theme, window)
    visit.use_examples(MODEL)
    visit.explain()
    visit.see_the_answer()
    _take(visit, folder / f"console-{theme}-{window}.png")


def _picture_work(browser: Browser, appliance: Appliance, theme: str, folder: Path) -> None:
    """Picture the live view while a large job runs."""
    visit = _visit(browser, appliance, theme, "tall")
    time.sleep(MEASURE_SECONDS)
    header, _, rows = appliance.get(f"/v1/models/{MODEL}/examples?limit=569").body.partition(b"\r\n")
    large = header + b"\r\n" + rows * COPIES
    answer = appliance.call("POST", f"/v1/jobs?model={MODEL}", large, headers={"Content-Type": "text/csv"})
    visit.page.locator(".jobs progress:visible").wait_for()
    time.sleep(WORK_SECONDS)
    _take(visit, folder / f"console-work-{theme}-wide.png")
    appliance.call("DELETE", answer.json()["links"]["self"])


def _visit(browser: Browser, appliance: Appliance, theme: str, window: str) -> Visit:
    width, height = WINDOWS[window]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
    )
    visit = Visit(context.new_page(), appliance.url)
    visit.open()
    visit.sign_in(appliance.api_key)
    visit.at_home()
    return visit


def _take(visit: Visit, path: Path) -> None:
    visit.page.evaluate("window.scrollTo(0, 0)")
    visit.page.screenshot(path=path, animations="disabled", caret="hide")
    print(f"{path}: {path.stat().st_size >> 10} KB", flush=True)
    visit.page.context.close()


if __name__ == "__main__":
    sys.exit(main())
