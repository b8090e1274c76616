"""Chromium, and a person's actions in the console, for its tests and its pictures."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

#: As root without a sandbox; and with nothing that would call its maker's servers.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
)
#: Milliseconds for what takes a second where the machine is free.
PATIENCE = 30_000
#: The plots of an answer, as the page draws them.
PLOTS = ("beeswarm", "waterfall", "dependence")


def find_chromium() -> str | None:
    """Return the path of Chromium; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run it without a window, on a profile of its own that is gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page on the console, and everything that went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        #: Complaints of the browser and the scripts, and requests to other addresses.
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heed_message)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._heed_request)

    def open(self, place: str = "") -> None:
        """Load the console, at an address such as `#/jobs/ID`."""
        self.page.goto(f"{self.url}/{place}")
        self.page.locator("#key").wait_for()

    def sign_in(self, key: str) -> None:
        """Type the key in."""
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")

    def at_home(self) -> None:
        """Wait until the live view shows something."""
        self.page.locator(".programs .badge").first.wait_for()
        expect(self.page.locator("#model option").first).to_be_attached()

    def use_examples(self, model: str, *, method: str = "tree_path_dependent") -> None:
        """Choose a model (NAME@VERSION), a method, and the model's example rows."""
        self.page.select_option("#model", model)
        self.page.locator(f"label:has(input[value={method}])").click()
        self.page.get_by_role("button", name="Use example rows").click()
        self.page.locator(".preview").wait_for()

    def choose_file(self, path: Path) -> None:
        """Choose a file by the picker."""
        self.page.set_input_files("#file", path)
        self.page.locator(".chosen").wait_for()

    def explain(self) -> None:
        """Send what was chosen."""
        self.page.get_by_role("button", name="Explain", exact=True).click()

    def see_the_answer(self) -> str:
        """Wait for every plot; return the job's id."""
        for kind in PLOTS:
            self.plot(kind)
        return self.page.url.rpartition("/")[2]

    def plot(self, kind: str) -> str:
        """Wait until a plot is drawn, and return its letters."""
        section = self.page.locator(f"section[aria-labelledby=plot-{kind}]")
        section.locator(".canvas:not(.drawing) svg.shapbox-plot").wait_for()
        return section.locator("svg.shapbox-plot").text_content() or ""

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def _heed_message(self, message: ConsoleMessage) -> None:
        # A refusal is an answer like any other; that the browser notes it is no fault of the page.
        refused = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in {"error", "warning"} and not refused:
            self.faults.append(f"{message.type}: {message.text}")

    def _heed_request(self, request: Request) -> None:
        if not f"{request.url}/".startswith((f"{self.url}/", "blob:", "data:")):
            self.faults.append(f"request to another address: {request.url}")
