from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.support.client import stopped

#: Tells the page that its tab was hidden or shown, as a browser does.
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

#: Lets each response wait, and notes what is asked for.
DELAY = """(milliseconds) => {
  const fetched = window.fetch;
  window.asked = [];
  window.fetch = async (path, options) => {
    window.asked.push(new URL(path, location).pathname);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    return fetched(path, options);
  };
}"""


def send(appliance: Appliance, model: str = "diabetes", query: str = "wait=30") -> str:
    """Create a job of example rows and return its id."""
    body = appliance.get(f"/v1/models/{model}/examples?limit=500").body
    path = f"/v1/jobs?model={model}&{query}"
    answer = appliance.call("POST", path, body, headers={"Content-Type": "text/csv"})
    assert answer.status in {200, 202}, answer
    return str(answer.json()["id"])


def job_line(job: str) -> str:
    return f".jobs li:has(a[href='#/jobs/{job}'])"


def forgive(visit: Visit, complaint: str) -> None:
    """Drop the browser's own message about a fault that the test caused."""
    visit.faults[:] = [fault for fault in visit.faults if complaint not in fault]


def test_memory_programs_and_queue_match_the_api(console: Visit, appliance: Appliance) -> None:
    told = appliance.get("/v1/appliance").json()
    meter = console.page.get_by_role("meter", name="Memory")
    expect(meter).to_have_attribute("aria-valuemax", "512")
    expect(meter).to_have_attribute("aria-valuetext", re.compile(r"^\d+ of 512 MB; at 475 MB"))
    used = float(meter.get_attribute("aria-valuenow") or 0)
    assert abs(used - told["memory"]["working_set_bytes"] / 2**20) < 60
    expect(console.page.get_by_text("recycle 475")).to_be_visible()
    names = console.page.locator(".programs li > span:nth-child(2)").all_inner_texts()
    assert names == [program["name"] for program in told["programs"]]
    assert {"api", "redis", "monitor", "worker-1", "worker-2"} <= set(names)
    assert "announce" not in names  # it has exited after its work
    expect(console.page.locator("#workers")).to_contain_text("2 idle")


def test_cancelling_and_deleting_a_job_needs_a_confirmation(console: Visit, appliance: Appliance) -> None:
    with stopped(*appliance.worker_pids()):
        job = send(appliance, query="method=interventional")
        line = console.page.locator(job_line(job))
        button = line.get_by_role("button")
        expect(button).to_have_text("Cancel")
        button.click()
        console.page.get_by_role("dialog").get_by_role("button", name="Keep job").click()
        assert appliance.get(f"/v1/jobs/{job}").json()["status"] in {"queued", "running"}
        button.click()
        console.page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
        expect(line.locator(".badge")).to_have_text("cancelled")
        assert appliance.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    button.click()
    console.page.get_by_role("dialog").get_by_role("button", name="Delete job").click()
    expect(line).to_have_count(0)
    assert appliance.get(f"/v1/jobs/{job}").status == 404


def test_new_jobs_appear_and_older_ones_are_on_further_pages(console: Visit, appliance: Appliance) -> None:
    made = [send(appliance, "wine") for _ in range(9)]
    newest, oldest = (console.page.locator(job_line(job)) for job in (made[-1], made[0]))
    expect(newest).to_contain_text("45 rows")
    expect(newest.locator(".badge")).to_have_text("completed")
    expect(oldest).to_have_count(0)
    console.page.get_by_role("button", name="Older").click()
    expect(oldest).to_be_visible()
    expect(newest).to_have_count(0)
    console.page.get_by_role("button", name="Newest").click()
    newest.get_by_role("link").click()
    assert console.see_the_answer() == made[-1]
    console.page.get_by_role("link", name="All jobs").click()
    expect(console.page.get_by_role("meter", name="Memory")).to_be_visible()


def test_an_unresponsive_redis_is_shown_until_it_responds(console: Visit, appliance: Appliance) -> None:
    state = console.page.locator("#state")
    with stopped(*appliance.pids_of("redis-server")):
        expect(state).to_have_text("Redis is not responding")
        expect(console.page.locator("#workers")).to_contain_text("unknown")
        expect(console.page.locator(".programs li")).not_to_have_count(0)
    expect(state).to_have_text(re.compile("Ready|Working"))
    forgive(console, "a status of 503")


def test_a_lost_connection_is_shown_until_it_is_back(console: Visit) -> None:
    banner = console.page.locator("#connection")
    console.page.context.set_offline(True)
    expect(banner).to_contain_text("not responding")
    expect(console.page.get_by_role("meter", name="Memory")).to_be_visible()
    console.page.context.set_offline(False)
    expect(banner).to_be_hidden()
    forgive(console, "ERR_INTERNET_DISCONNECTED")


@pytest.mark.parametrize(("headers", "most"), [({}, 5), ({"Retry-After": "8"}, 1)])  # at 0, 1, 3 and 7 s
def test_a_failing_appliance_is_asked_ever_less_often_or_when_it_says(
    console: Visit, headers: dict[str, str], most: int
) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=502, json={}, headers=headers)

    console.page.route("**/v1/appliance", refuse)
    expect(console.page.locator("#connection")).to_be_visible()
    console.page.wait_for_timeout(6000)
    assert 1 <= len(asked) <= most
    console.page.unroute("**/v1/appliance")
    expect(console.page.locator("#connection")).to_be_hidden()
    forgive(console, "a status of 502")


def test_changes_of_the_view_leave_one_poll_and_a_hidden_tab_none(console: Visit) -> None:
    console.page.evaluate(DELAY, 800)
    for _ in range(3):
        console.page.evaluate(HIDE, False)
        console.page.wait_for_timeout(600)
    console.page.wait_for_timeout(1500)
    console.page.evaluate("window.asked = []")
    console.page.wait_for_timeout(5000)
    asked = console.page.evaluate("window.asked")
    assert 1 <= asked.count("/v1/appliance") <= 3  # every 2.5 s
    console.page.evaluate(HIDE, True)
    console.page.evaluate("window.asked = []")
    console.page.wait_for_timeout(2600)
    assert console.page.evaluate("window.asked") == []
    with console.page.expect_request("**/v1/appliance"):
        console.page.evaluate(HIDE, False)


def test_a_job_that_ends_during_the_question_leaves_its_view(console: Visit, appliance: Appliance) -> None:
    with stopped(*appliance.worker_pids()):
        job = send(appliance, query="method=interventional")
        console.page.locator(job_line(job)).get_by_role("link").click()
        console.page.get_by_role("button", name="Cancel").click()
    dialog = console.page.get_by_role("dialog")
    expect(console.page.locator(".badge").last).to_have_text("completed")
    dialog.get_by_role("button", name="Cancel job").click()
    expect(console.page).to_have_url(re.compile("#/$"))
    assert appliance.get(f"/v1/jobs/{job}").status == 404
