from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import OpenConsole


def stored(page: Page) -> str:
    """Return everything that the page could have stored: storage, cookies, address, history."""
    script = (
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, "
        "history.state, document.documentElement.outerHTML])"
    )
    return str(page.evaluate(script)) + str(page.context.cookies())


def test_only_keys_for_jobs_sign_in(open_console: OpenConsole, appliance: Appliance) -> None:
    visit = open_console(key=None)
    alert = visit.page.get_by_role("alert")
    for wrong in ("wrong", "schlüssel"):
        visit.sign_in(wrong)
        expect(alert).to_contain_text("Unknown key")
        expect(visit.page.locator("#key")).to_be_visible()
    visit.sign_in(appliance.metrics_token)
    expect(alert).to_contain_text("cannot open the console")
    visit.sign_in(appliance.admin_key)
    visit.at_home()
    expect(visit.page.locator("#state")).to_have_text(re.compile("Ready|Working"))


def test_the_key_is_stored_nowhere_and_a_reload_or_signing_out_forgets_it(
    console: Visit, appliance: Appliance
) -> None:
    assert appliance.api_key not in stored(console.page)
    console.page.reload()
    expect(console.page.locator("#key")).to_be_focused()
    expect(console.page.locator("#key")).to_have_value("")
    console.sign_in(appliance.api_key)
    console.at_home()
    console.page.get_by_role("button", name="Sign out").click()
    expect(console.page.get_by_text("has forgotten the key")).to_be_visible()
    expect(console.page.locator(".programs, .jobs, #state:visible")).to_have_count(0)
    assert appliance.api_key not in stored(console.page)
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.url))
    console.page.wait_for_timeout(2600)  # longer than the polling interval
    assert asked == []


def test_a_revoked_key_leads_back_to_the_sign_in_page(console: Visit) -> None:
    def with_another_key(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "authorization": "Bearer the-key-of-yesterday"})

    console.page.route("**/v1/**", with_another_key)
    expect(console.page.get_by_role("alert")).to_contain_text("no longer valid")
    expect(console.page.locator("#key")).to_be_focused()
