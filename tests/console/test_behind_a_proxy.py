"""The console under a path, through Debian's nginx with TLS."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from ops.lab.trial_appliance import Appliance
from tests.console.conftest import OpenConsole
from tests.support.remote.certificates import make_certificates
from tests.support.remote.nginx import nginx_before


def test_every_request_of_the_console_stays_below_the_path_and_succeeds(
    appliance: Appliance, open_console: OpenConsole, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    with nginx_before(appliance.url, tmp_path / "nginx", certificates) as url:
        console = open_console(url=url, ignore_https_errors=True)
        failed: list[str] = []
        console.page.on("response", lambda one: failed.append(one.url) if one.status >= 400 else None)
        console.page.reload()
        console.sign_in(appliance.api_key)
        console.at_home()
        console.use_examples("diabetes@1")
        console.explain()
        job = console.see_the_answer()
        console.page.get_by_role("link", name="All jobs").click()
        expect(console.page.locator(f".jobs a[href='#/jobs/{job}']")).to_be_visible()
        console.page.get_by_role("link", name="API").click()
        with console.page.expect_navigation():
            console.page.get_by_role("link", name="/openapi.json", exact=True).click()
        assert console.page.url == f"{url}/openapi.json"
        console.page.goto(url)  # without the slash at its end
        assert console.page.url == f"{url}/"
        console.page.goto("about:blank")  # asks nothing of an nginx that has ended
        assert failed == []
