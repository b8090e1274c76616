"""Deploys with all states of deploys, with faults, and with weak keys, in this process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from ops.render.client import Render
from tests.integration.deploy.conftest import Deployer
from tests.integration.deploy.fake_render import (
    GOOD,
    HOOK_KEY,
    KEY,
    READING_KEY,
    SERVICE,
    UNKNOWN_KEY,
    VARIABLES,
    FakeDeploy,
    FakeRender,
    Trouble,
)

OLD = "0123456789abcdef0123456789abcdef01234567"
DEPLOYS, ONE_DEPLOY = r"/deploys$", r"/deploys/dep-"
NOWHERE = "http://127.0.0.1:9"
HTML = "<html>a proxy's page</html>"
VERIFY = {"VERIFY": "yes", "SETTLE_SECONDS": "0.05"}
ROLLED_BACK = ("deploys", "rollback")

type Prepare = Callable[[FakeRender], object]


@dataclass
class Scenario:
    """A pattern of the output, the exit code, the orders that are given, and new deploys."""

    said: str = ""
    code: int = 1
    orders: tuple[str, ...] = ("deploys",)
    made: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    script: tuple[str, ...] = GOOD
    troubles: tuple[Trouble, ...] = ()
    prepare: Prepare = lambda _render: None


def refused(
    said: str, troubles: tuple[Trouble, ...] = (), prepare: Prepare = bool, **settings: str
) -> Scenario:
    """Nothing is ordered."""
    return Scenario(said, 1, (), 0, settings, troubles=troubles, prepare=prepare)


def has(**values: object) -> Prepare:
    return lambda render: render.__dict__.update(values)


def fails_in(state: str, log: str) -> Scenario:
    def prepare(render: FakeRender) -> None:
        render.add_deploy(OLD, "live")
        render.logs[log] = [*(f"line {number}" for number in range(50)), f"env RENDER_API_KEY={KEY}"]
        render.url = NOWHERE

    said = r" log:\n  \| line 11\n.*  \| line 49\n  \| env RENDER_API_KEY=\[secret\]\n.*no appliance answers"
    return Scenario(said, script=("build_in_progress", state), prepare=prepare)


def supersede(render: FakeRender) -> None:
    render.on_look = lambda _deploy: len(render.deploys) == 1 and render.add_deploy(OLD, "build_in_progress")


def serves_old(**more: object) -> Prepare:
    """Let an old deploy be live, and its commit answer."""

    def prepare(render: FakeRender) -> None:
        render.add_deploy(OLD, "live")
        render.__dict__.update({"url": render.address, "serves": [OLD], **more})

    return prepare


def serves_and_is_superseded(render: FakeRender) -> None:
    def supersede(_deploy: object) -> None:
        render.add_deploy("f" * 40, "live")
        render.deploys[1].status = "live"  # as it was told last

    serves_old(on_live=supersede)(render)


def serves_the_new_commit_and_explains_nothing(render: FakeRender) -> None:
    def serve(deploy: FakeDeploy) -> None:
        render.serves = [OLD, OLD, deploy.commit]  # the old container answers for a while

    serves_old(on_live=serve)(render)


SCENARIOS = {
    "live": Scenario(
        "is being built.*is starting; Render waits for /healthz.*is live.*VERIFY=no was given", 0
    ),
    "by id": Scenario(code=0, settings={"SERVICE": SERVICE}),
    "no such id": refused("no service called srv-no.*/blueprint/new.repo=", RENDER_SERVICE="srv-no"),
    "no such name": refused("no service called other", SERVICE="other"),
    "suspended": refused("resume it in the dashboard", prepare=has(suspended="suspended")),
    "build fails": fails_in("build_failed", "build"),
    "never healthy": fails_in("update_failed", "app"),
    "no log": Scenario(
        "the log cannot be read", script=("pre_deploy_failed",), troubles=(Trouble("GET", "/logs", 404),)
    ),
    "order without a name": Scenario("names no deploy yet", 0, prepare=has(order_is_silent=True)),
    "order without a deploy": Scenario("shows no deploy", made=0, prepare=has(order_is_lost=True)),
    "queued": Scenario(
        r"waits for dep-0* \(0123456\), which is being built",
        code=0,
        script=("queued", "queued", "build_in_progress", "live"),
        prepare=lambda render: render.add_deploy(OLD, "build_in_progress"),
    ),
    "superseded": Scenario(
        r"superseded by dep-0*1 \(0123456\), which is being built",
        made=2,
        script=("build_in_progress", "deactivated"),
        prepare=supersede,
    ),
    "canceled": Scenario("was canceled, by somebody else", script=("created", "canceled")),
    "unknown state": Scenario(
        "is warming_up, a state that this version does not know", 0, script=("created", "warming_up", "live")
    ),
    "too long": Scenario(
        "goes on at Render.*DEPLOY_MINUTES",
        settings={"DEPLOY_MINUTES": "0.001"},
        script=("build_in_progress",),
    ),
    "questions without an answer": Scenario(
        "6 times in a row.*This address is not Render's API",
        code=0,
        troubles=(
            Trouble("GET", "/services$", 503, body='{"message": "maintenance"}', times=2),
            Trouble("GET", ONE_DEPLOY, times=8),  # dropped
            Trouble("GET", ONE_DEPLOY, 502, body="<html>"),
            Trouble("GET", ONE_DEPLOY, 200, body=HTML),
        ),
    ),
    "away forever": refused("cannot be reached.*Try again later", (Trouble("GET", ".", times=1000),)),
    "rate limits": Scenario(
        "429; asking again in 1 s",
        code=0,
        orders=("deploys",) * 3,
        troubles=(
            Trouble("POST", DEPLOYS, 429, {"Retry-After": "1"}),
            Trouble("POST", DEPLOYS, 429, {"Ratelimit-Reset": "0"}),
        ),
    ),
    "rate limit too long": Scenario(
        "asks to wait for 3600 s", made=0, troubles=(Trouble("POST", DEPLOYS, 429, {"Retry-After": "3600"}),)
    ),
    "order done, not answered": Scenario(
        "looking whether it has begun", 0, troubles=(Trouble("POST", DEPLOYS, done=True),)
    ),
    "order not heard": Scenario(
        code=0, orders=("deploys",) * 3, troubles=(Trouble("POST", DEPLOYS), Trouble("POST", DEPLOYS, 500))
    ),
    "order refused": Scenario(
        "no such commit",
        made=0,
        troubles=(Trouble("POST", DEPLOYS, 400, body='{"message": "no such commit"}'),),
    ),
    "unknown key": refused("does not know this key", RENDER_API_KEY=UNKNOWN_KEY),
    "reading key": Scenario("may not do that", made=0, settings={"RENDER_API_KEY": READING_KEY}),
    "unusable settings": Scenario(
        "cannot be read.*ROLLBACK is 'perhaps'.*RENDER_API_KEY is not set.*Account Settings",
        2,
        (),
        0,
        {"RENDER_API_KEY": "", "ROLLBACK": "perhaps", "RENDER_DEPLOY_HOOK_FILE": "/nowhere/hook"},
    ),
    "never its commit": Scenario(
        "commit 0123456 answers, healthy and ready, and not.*Rolled back: at",
        orders=ROLLED_BACK,
        made=2,
        settings=VERIFY,
        prepare=serves_old(),
    ),
    "not verified": Scenario(
        r"Render's events.*Not verified\..*Rolling back to dep-0* \(0123456\)",
        orders=ROLLED_BACK,
        made=2,
        settings={**VERIFY, "SETTLE_SECONDS": "5"},
        prepare=serves_the_new_commit_and_explains_nothing,
    ),
    "no rollback wanted": Scenario("stays live", settings={**VERIFY, "ROLLBACK": "no"}, prepare=serves_old()),
    "another one is live": Scenario(
        "is live meanwhile", made=2, settings=VERIFY, prepare=serves_and_is_superseded
    ),
    "rollback fails": Scenario(
        "The rollback failed.*https://dashboard.example",
        orders=ROLLED_BACK,
        made=2,
        settings=VERIFY,
        prepare=serves_old(rollback_script=("update_failed",)),
    ),
    "nothing to roll back to": Scenario(
        "no appliance answers.*there is nothing to roll back to", settings=VERIFY, prepare=has(url=NOWHERE)
    ),
    "keys that nobody knows": refused(
        "METRICS_TOKEN: neither set here nor to be read",
        VERIFY="yes",
        ADMIN_API_KEY="an-admin-key-0123456789",
        prepare=has(url=NOWHERE, variables={"API_KEY": "an-api-key-0123456789"}),
    ),
    "variables that it may not read": refused(
        "API_KEY, ADMIN_API_KEY, METRICS_TOKEN: neither",
        (Trouble("GET", "/env-vars", 403),),
        prepare=has(url=NOWHERE),
        VERIFY="yes",
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, deployer: Deployer, render: FakeRender) -> None:
    scenario = SCENARIOS[name]
    render.script, render.troubles = scenario.script, [replace(one) for one in scenario.troubles]
    scenario.prepare(render)
    before = len(render.deploys)
    code, told = deployer.deploy(**scenario.settings)
    assert code == scenario.code, told
    assert re.search(scenario.said, told, re.DOTALL), told
    assert render.orders() == scenario.orders
    assert len(render.deploys) - before == scenario.made
    if code == 0:
        assert (render.deploys[0].commit, render.deploys[0].status) == (deployer.checkout.head, "live")


def test_a_deploy_of_this_commit_that_is_under_way_is_followed_and_an_ended_one_is_not(
    deployer: Deployer, render: FakeRender
) -> None:
    head = deployer.checkout.head
    render.add_deploy(head, "build_failed")
    render.troubles = [Trouble("POST", DEPLOYS)]
    assert deployer.deploy()[0] == 0
    assert [deploy.status for deploy in render.deploys] == ["live", "build_failed"]
    render.add_deploy(head, "build_in_progress", "live")
    code, told = deployer.deploy()
    assert (code, render.orders()) == (0, ("deploys", "deploys"))
    assert "under way already" in told


@pytest.mark.parametrize("moment", ["on_look", "on_order"])
def test_ctrl_c_leaves_the_deploy_running_once_it_is_known_that_it_has_begun(
    moment: str, deployer: Deployer, render: FakeRender, capfd: pytest.CaptureFixture[str]
) -> None:
    render.script = ("created", *["build_in_progress"] * 1000)
    setattr(render, moment, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    code, told = deployer.deploy()
    assert code == 130
    assert "goes on at Render, unverified" in told
    assert "https://dashboard.example" in told
    assert (render.orders(), len(render.deploys)) == (("deploys",), 1)
    assert ("Ctrl-C is heard" in capfd.readouterr().err) == (moment == "on_order")


def test_failures_of_the_service_count_from_a_time_on(deployer: Deployer, render: FakeRender) -> None:
    render.events = [
        {"type": kind, "timestamp": f"{year}-01-01T00:00:00Z", "details": {"reason": {"oomKilled": year}}}
        for kind, year in (("server_failed", 2027), ("server_failed", 2025), ("deploy_started", 2027))
    ]
    with contextlib.closing(Render(deployer.host, KEY, 0.01, print)) as client:
        service = client.find_service("shapbox")
        assert service is not None
        found = service.failures_since(datetime(2026, 1, 1, tzinfo=UTC))
    assert found == ["2027-01-01T00:00:00Z: {'oomKilled': 2027}"]


def test_a_hook_that_is_refused_or_lacks_its_settings_is_told_without_showing_it(deployer: Deployer) -> None:
    settings = deployer.hook_settings(NOWHERE)
    wrong = settings["RENDER_DEPLOY_HOOK"].replace(HOOK_KEY, UNKNOWN_KEY)
    code, told = deployer.deploy(**{**settings, "RENDER_DEPLOY_HOOK": wrong})
    assert code == 1
    assert "does not know this RENDER_DEPLOY_HOOK (401)" in told
    code, told = deployer.deploy(**{**settings, "URL": ""}, VERIFY="yes")
    assert code == 2
    for said in ("URL is not set", "API_KEY, ADMIN_API_KEY, METRICS_TOKEN not set"):
        assert said in told


def test_a_hook_deploys_and_watches_the_address_and_is_never_rolled_back(
    deployer: Deployer, render: FakeRender
) -> None:
    settings, head = deployer.hook_settings(render.address), deployer.checkout.head
    render.serves = [OLD]
    code, told = deployer.deploy(**settings, DEPLOY_MINUTES="0.001")
    assert code == 1
    assert f"{head[:7]} does not answer at {render.address}" in told
    assert "not rolled back, which takes a RENDER_API_KEY" in told
    render.serves = [OLD, OLD, head]
    render.troubles = [
        Trouble("GET", "/version", 200, body=HTML),
        Trouble("POST", "/deploy/", done=True),  # heard, and not answered
    ]
    code, told = deployer.deploy(**settings)
    assert (code, [deploy.commit for deploy in render.deploys]) == (0, [head, head])
    assert "watching whether the hook was heard" in told
    code, told = deployer.deploy(**settings, **VERIFY, **VARIABLES)  # the fake explains nothing
    assert code == 1
    assert "Not verified, and not rolled back" in told
