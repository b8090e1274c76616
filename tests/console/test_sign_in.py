from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from ops.console_visit import Visit
from ops.trial_appliance import Appliance
from tests.console.conftest import OpenConsole


def stored(page: Page) -> str:
    """Return all that the page could have kept: storage, cookies, address, history."""
    script = (
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, "
        "history.state, document.documentElement.outerHTML])"
    )
    return str(page.evaluate(script)) + str(page.context.cookies())


def test_a_wrong_key_is_refused_with_a_word_why(open_console: OpenConsole) -> None:
    visit = open_console()
    for wrong in ("wrong", "a-key-that-nobody-has", "schlüssel"):
        visit.sign_in(wrong)
        expect(visit.page.get_by_role("alert")).to_contain_text("This key is not known")
        expect(visit.page.locator("#key")).to_be_visible()


def test_a_key_for_something_else_is_refused(open_console: OpenConsole, appliance: Appliance) -> None:
    visit = open_console()
    visit.sign_in(appliance.metrics_token)
    expect(visit.page.get_by_role("alert")).to_contain_text("opens something else")


@pytest.mark.parametrize("key", ["API_KEY", "ADMIN_API_KEY"])
def test_either_key_for_jobs_opens_it(open_console: OpenConsole, appliance: Appliance, key: str) -> None:
    visit = open_console()
    visit.sign_in(appliance.key(key))
    visit.at_home()
    expect(visit.page.locator("#state")).to_have_text(re.compile("Ready|Working"))


def test_the_key_is_kept_nowhere_and_a_reload_forgets_it(console: Visit, appliance: Appliance) -> None:
    assert appliance.api_key not in stored(console.page)
    console.page.reload()
    expect(console.page.locator("#key")).to_be_focused()
    expect(console.page.locator("#key")).to_have_value("")


def test_signing_out_forgets_all_that_was_shown(console: Visit, appliance: Appliance) -> None:
    asked: list[str] = []
    console.page.get_by_role("button", name="Sign out").click()
    expect(console.page.get_by_text("the key is forgotten")).to_be_visible()
    expect(console.page.locator(".programs, .jobs, #state:visible")).to_have_count(0)
    assert appliance.api_key not in stored(console.page)
    console.page.on("request", lambda request: asked.append(request.url))
    console.page.wait_for_timeout(2500)  # longer than any look at the appliance is apart
    assert asked == []


def test_a_key_that_is_not_known_any_more_leads_back_to_the_first_page(console: Visit) -> None:
    def with_another_key(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "authorization": "Bearer the-key-of-yesterday"})

    console.page.route("**/v1/**", with_another_key)
    expect(console.page.get_by_role("alert")).to_contain_text("does not know this key any more")
    expect(console.page.locator("#key")).to_be_focused()
