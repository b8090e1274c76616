"""`python -m ops.screenshots`: pictures of the console, for the documentation.

Boots an appliance of its own, in a memory cgroup of 512 MB where it may make one, gives it work, and looks.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

from ops.console_visit import Visit, chromium, find_chromium
from ops.lab.trial_appliance import Appliance, memory_cgroup
from shapbox import Shapbox
from shared.build import ROOT

FOLDER = ROOT / "docs" / "images"
#: Windows by name: width and height in pixels.
WINDOWS = {"wide": (1280, 900), "narrow": (390, 844), "tall": (1280, 1120)}
#: The model that is explained in the pictures, and those that were explained before.
MODEL, EARLIER = "breast-cancer@1", ("diabetes", "wine", "diabetes")
#: Seconds until the monitor has measured the disk, and until the large job is pictured; copies of the example rows in it.
MEASURE_SECONDS, WORK_SECONDS, COPIES = 50, 3, 240


def main() -> int:
    """Take all pictures; returns the exit code."""
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
            box = Shapbox(appliance.url, appliance.api_key)
            for model in EARLIER:
                box.submit(_examples(box, model), model).wait()
            for theme in ("light", "dark"):
                for window in ("wide", "narrow"):
                    visit = _visit(browser, appliance, theme, window)
                    visit.use_examples(MODEL)
                    visit.explain()
                    visit.see_the_answer()
                    _take(visit, f"console-{theme}-{window}.png")
                visit = _visit(browser, appliance, theme, "tall")
                time.sleep(MEASURE_SECONDS)
                job = box.submit(_examples(box, MODEL) * COPIES, MODEL)
                visit.page.locator(".jobs progress:visible").wait_for()
                time.sleep(WORK_SECONDS)
                _take(visit, f"console-work-{theme}-wide.png")
                job.delete()
        finally:
            appliance.stop()
    return 0


def _examples(box: Shapbox, model: str) -> list[list[object]]:
    path, accept = f"/v1/models/{model}/examples?limit=569", {"Accept": "application/json"}
    return list(box.call("GET", path, headers=accept).json()["rows"])


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


def _take(visit: Visit, name: str) -> None:
    visit.page.evaluate("window.scrollTo(0, 0)")
    visit.page.screenshot(path=FOLDER / name, animations="disabled", caret="hide")
    print(f"{name}: {(FOLDER / name).stat().st_size >> 10} KB", flush=True)
    visit.page.context.close()


if __name__ == "__main__":
    sys.exit(main())
