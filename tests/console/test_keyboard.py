"""The console by keyboard alone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import OpenConsole

#: The most Tab stops on one page.
MOST_STEPS = 60

#: Returns the accessible name of the focused element, and whether its focus is visible.
FOCUSED = """() => {
  const element = document.activeElement;
  const label = element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent;
  const marked = [element, element.closest("label"), element.nextElementSibling].some(
    (one) => one && getComputedStyle(one).outlineStyle !== "none" && parseFloat(getComputedStyle(one).outlineWidth) > 1);
  return [label.trim(), marked];
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the named element has the focus. Every focus on the way must be visible."""
    passed = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        label, marked = page.evaluate(FOCUSED)
        if page.evaluate("document.activeElement !== document.body"):
            assert marked, f"{label!r} has an invisible focus"
        if label == name:
            return
        passed.append(label)
    raise AssertionError(f"{name!r} was not reached: {passed}")


def test_from_the_key_to_the_result_and_signing_out(open_console: OpenConsole, appliance: Appliance) -> None:
    visit = open_console(key=None)
    page, press = visit.page, visit.page.keyboard.press
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(appliance.api_key)
    press("Enter")
    visit.at_home()

    tab_to(page, "Model")
    page.keyboard.type("diabetes")
    expect(page.locator("#model")).to_have_value("diabetes@1")
    tab_to(page, "Path dependent")
    press("ArrowRight")
    expect(page.get_by_role("radio", name="Interventional")).to_be_checked()
    press("ArrowLeft")
    tab_to(page, "Use example rows")
    press("Enter")
    expect(page.get_by_role("button", name="Explain", exact=True)).to_be_focused()
    press("Enter")
    visit.see_the_answer()

    tab_to(page, "Next row")
    press("Enter")
    expect(page.locator("section[aria-labelledby=plot-waterfall] svg")).to_contain_text("row 1")
    tab_to(page, "Feature")
    page.keyboard.type("bp")
    expect(page.locator("section[aria-labelledby=plot-dependence] svg")).to_contain_text("SHAP value for bp")

    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    tab_to(page, "Delete")
    press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Keep job")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    tab_to(page, "Download values as CSV")
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "Sign out")
    press("Enter")
    expect(page.locator("#key")).to_be_focused()


def test_the_first_tab_stop_skips_to_the_content(console: Visit) -> None:
    place, skip = console.page.url, console.page.locator("a, button, input").first
    expect(skip).to_have_text("Skip to the content")
    skip.focus()
    expect(skip).to_be_in_viewport()
    console.page.keyboard.press("Enter")
    expect(console.page.locator("main")).to_be_focused()
    assert console.page.url == place
