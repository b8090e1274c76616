"""`python -m ops.render.deploy` with states of deploys, faults, and weak keys.

The faults are those of the network and of Render.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.integration.deploy.conftest import Deployer, hook_settings
from tests.integration.deploy.fake_render import (
    HOOK_KEY,
    KEY,
    READING_KEY,
    SERVICE,
    VARIABLES,
    FakeRender,
    Trouble,
)

OLD = "0123456789abcdef0123456789abcdef01234567"
DEPLOYS, ONE_DEPLOY = r"/deploys$", r"/deploys/dep-"
NOWHERE = "http://127.0.0.1:9"
UNFINISHED = ("created", "build_in_progress")


@dataclass
class Scenario:
    """Render's behavior, and the deploy's result.

    The result is the exit code, the orders, and texts that the deploy prints or does not print.
    """

    said: tuple[str, ...] = ()
    code: int = 0
    orders: int = 1
    deploys: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    troubles: list[Trouble] = field(default_factory=list)
    prepare: Callable[[FakeRender], object] = lambda _render: None
    unsaid: tuple[str, ...] = ()
    rollbacks: int = 0


def dropped(method: str, path: str, status: int = 0, **more: object) -> list[Trouble]:
    return [Trouble(method, path, status, **more)]  # type: ignore[arg-type]


def fails_in(state: str, log: str) -> Callable[[FakeRender], object]:
    def prepare(render: FakeRender) -> None:
        render.add_deploy(OLD, status="live")
        render.script = (*UNFINISHED, state)
        render.logs[log] = [f"line {number}" for number in range(50)]
        render.url = NOWHERE

    return prepare


def superseded(render: FakeRender) -> None:
    def supersede(deploy: object) -> None:
        if len(render.deploys) == 1 and deploy is render.deploys[0]:
            render.add_deploy(OLD, status="build_in_progress")

    render.on_look = supersede


def takes_orders_and_names_no_deploy(render: FakeRender, *, starts_it: bool) -> None:
    render.order_is_silent = True
    if not starts_it:
        render.post_deploy = lambda _body: (202, None)  # type: ignore[method-assign, assignment]


def serves_the_old_commit(render: FakeRender) -> None:
    """Let the new commit never take over, though Render calls its deploy live."""
    render.add_deploy(OLD, status="live")
    render.url, render.serves = render.address, OLD


def serves_and_is_superseded(render: FakeRender) -> None:
    serves_the_old_commit(render)

    def supersede(_deploy: object) -> None:
        render.add_deploy("f" * 40, status="live")
        render.deploys[1].status = "live"  # as it was told last

    render.on_live = supersede


def serves_and_cannot_roll_back(render: FakeRender) -> None:
    serves_the_old_commit(render)
    render.post_rollback = lambda _body: (  # type: ignore[method-assign, assignment]
        201,
        render.add_deploy(OLD, "update_failed", trigger="rollback").document(),
    )


VERIFY = {"VERIFY": "yes", "SETTLE_SECONDS": "0.1"}
FAILED = ("  | line 49", "  | line 10\n", "nothing of ours answers")
NEWER = "superseded by dep-00000000000000000001 (0123456), which is being built"
HTML = "<html>a proxy's page</html>"

SCENARIOS = {
    "live": Scenario(
        ("is being built", "is starting; Render waits for /healthz", "is live", "VERIFY=no was given")
    ),
    "by id": Scenario(settings={"SERVICE": SERVICE}),
    "by name": Scenario(settings={"SERVICE": "shapbox"}),
    "no such id": Scenario(
        ("no service called srv-nobody", "/blueprint/new?repo="), 1, 0, 0, {"RENDER_SERVICE": "srv-nobody"}
    ),
    "no such name": Scenario(("no service called other",), 1, 0, 0, {"RENDER_SERVICE": "other"}),
    "suspended": Scenario(
        ("resume it in the dashboard",),
        1,
        0,
        0,
        prepare=lambda render: setattr(render, "suspended", "suspended"),
    ),
    "build fails": Scenario(
        ("could not be built", *FAILED),
        1,
        1,
        2,
        prepare=fails_in("build_failed", "build"),
        unsaid=("| line 9\n",),
    ),
    "pre-deploy fails": Scenario(
        ("failed in its pre-deploy command", *FAILED), 1, 1, 2, prepare=fails_in("pre_deploy_failed", "app")
    ),
    "never healthy": Scenario(
        ("was built, and did not become healthy", *FAILED), 1, 1, 2, prepare=fails_in("update_failed", "app")
    ),
    "a log with the key": Scenario(
        ("  | env RENDER_API_KEY=[secret]",),
        1,
        script=("created", "build_failed"),
        prepare=lambda render: render.logs["build"].append(f"env RENDER_API_KEY={KEY}"),
    ),
    "no log": Scenario(
        ("could not be built", "the log cannot be read"),
        1,
        script=("created", "build_failed"),
        troubles=dropped("GET", "/logs", 404),
    ),
    "order without a name": Scenario(
        ("names no deploy yet",),
        prepare=lambda render: takes_orders_and_names_no_deploy(render, starts_it=True),
    ),
    "order without a deploy": Scenario(
        ("shows no deploy",),
        1,
        1,
        0,
        prepare=lambda render: takes_orders_and_names_no_deploy(render, starts_it=False),
    ),
    "queued": Scenario(
        ("waits for dep-00000000000000000000 (0123456), which is being built",),
        deploys=2,
        script=("queued", "queued", "queued", "build_in_progress", "live"),
        prepare=lambda render: render.add_deploy(OLD, status="build_in_progress"),
    ),
    "superseded while building": Scenario(
        (NEWER,), 1, 1, 2, script=(*UNFINISHED, "canceled"), prepare=superseded
    ),
    "superseded when live": Scenario(
        (NEWER,), 1, 1, 2, script=(*UNFINISHED, "deactivated"), prepare=superseded
    ),
    "canceled by somebody": Scenario(("was canceled, by somebody else",), 1, script=("created", "canceled")),
    "unknown state": Scenario(
        ("is warming_up, a state that this version does not know",),
        script=("created", "warming_up", "build_in_progress", "live"),
    ),
    "too long": Scenario(
        ("goes on at Render", "DEPLOY_MINUTES"),
        1,
        settings={"DEPLOY_MINUTES": "0.01"},
        script=("build_in_progress",),
    ),
    "questions without an answer": Scenario(
        ("This address is not Render's API",),
        troubles=[
            Trouble("GET", "/services$", 503, body='{"message": "maintenance"}', times=2),
            Trouble("GET", ONE_DEPLOY, times=3),  # dropped
            Trouble("GET", ONE_DEPLOY, 500, body="<html>"),
            Trouble("GET", ONE_DEPLOY, 502),
            Trouble("GET", ONE_DEPLOY, 200, body=HTML),
        ],
    ),
    "away for long": Scenario(("6 times in a row",), troubles=dropped("GET", ONE_DEPLOY, times=14)),
    "away forever": Scenario(
        ("cannot be reached", "Try again later"), 1, 0, 0, troubles=dropped("GET", ".", times=1000)
    ),
    "rate limits": Scenario(
        ("429, too many calls; asking again in 1 s",),
        orders=3,
        troubles=[
            Trouble("POST", DEPLOYS, 429, {"Retry-After": "1"}),
            Trouble("POST", DEPLOYS, 429, {"Ratelimit-Reset": "0"}),
        ],
    ),
    "rate limit too long": Scenario(
        ("asks to wait for 3600 s",),
        1,
        1,
        0,
        troubles=dropped("POST", DEPLOYS, 429, headers={"Retry-After": "3600"}),
    ),
    "order done, not answered": Scenario(
        ("looking whether it has begun",), troubles=dropped("POST", DEPLOYS, done=True)
    ),
    "order not heard": Scenario(orders=2, troubles=dropped("POST", DEPLOYS)),
    "order answered 500": Scenario(orders=2, troubles=dropped("POST", DEPLOYS, 500)),
    "order refused": Scenario(
        ("commit not found in repository",),
        1,
        1,
        0,
        troubles=dropped("POST", DEPLOYS, 400, body='{"message": "commit not found in repository"}'),
    ),
    "unknown key": Scenario(
        ("does not know this",),
        1,
        0,
        0,
        {"RENDER_API_KEY": "rnd_nobodys-key-0123456789"},
        unsaid=("rnd_nobodys-key-0123456789",),
    ),
    "reading key": Scenario(("may not do that",), 1, 1, 0, {"RENDER_API_KEY": READING_KEY}),
    "unusable settings": Scenario(
        ("RENDER_API_KEY is not set", "Account Settings", "ROLLBACK is 'perhaps'", "cannot be read"),
        2,
        0,
        0,
        {"RENDER_API_KEY": "", "ROLLBACK": "perhaps", "RENDER_DEPLOY_HOOK_FILE": "/nowhere/hook"},
    ),
    "never its commit": Scenario(
        ("commit 0123456 answers, healthy and ready, and not", "Rolled back: at"),
        1,
        deploys=3,
        settings=VERIFY,
        prepare=serves_the_old_commit,
        rollbacks=1,
    ),
    "no rollback wanted": Scenario(
        ("stays live",), 1, 1, 2, {**VERIFY, "ROLLBACK": "no"}, prepare=serves_the_old_commit
    ),
    "another one is live": Scenario(
        ("is live meanwhile",), 1, 1, 3, VERIFY, prepare=serves_and_is_superseded
    ),
    "rollback fails": Scenario(
        ("Rolling back has failed", "https://dashboard.example"),
        1,
        deploys=3,
        settings=VERIFY,
        prepare=serves_and_cannot_roll_back,
        rollbacks=1,
    ),
    "keys that nobody knows": Scenario(
        ("METRICS_TOKEN: neither set here nor to be read",),
        1,
        0,
        0,
        {"VERIFY": "yes", "ADMIN_API_KEY": "an-admin-key-0123456789"},
        prepare=lambda render: render.__dict__.update(
            url=NOWHERE, variables={"API_KEY": "an-api-key-0123456789"}
        ),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, deployer: Deployer, render: FakeRender) -> None:
    scenario = SCENARIOS[name]
    render.script = scenario.script or render.script
    render.troubles = scenario.troubles
    scenario.prepare(render)
    code, told = deployer.try_out(**scenario.settings)
    assert code == scenario.code, told
    assert [text for text in scenario.said if text not in told] == [], told
    assert [text for text in scenario.unsaid if text in told] == []
    assert (render.orders(), len(render.deploys)) == (scenario.orders, scenario.deploys)
    assert render.orders("/rollback") == scenario.rollbacks
    if code == 0:
        assert (render.deploys[0].commit, render.deploys[0].status) == (deployer.checkout.head, "live")


def test_a_deploy_of_this_commit_that_is_under_way_is_followed_and_an_ended_one_is_not(
    deployer: Deployer, render: FakeRender
) -> None:
    head = deployer.checkout.head
    render.add_deploy(head, status="build_failed")
    render.troubles = dropped("POST", DEPLOYS)
    assert deployer.try_out()[0] == 0
    assert [deploy.status for deploy in render.deploys] == ["live", "build_failed"]
    render.add_deploy(head, "build_in_progress", "live")
    code, told = deployer.try_out()
    assert (code, render.orders()) == (0, 2)
    assert "under way already" in told


def test_a_hook_that_is_refused_or_lacks_its_settings_is_told_without_showing_it(deployer: Deployer) -> None:
    settings = dict(hook_settings(deployer, NOWHERE))
    wrong = settings["RENDER_DEPLOY_HOOK"].replace(HOOK_KEY, "anothers-key-0123456789")
    code, told = deployer.try_out(**{**settings, "RENDER_DEPLOY_HOOK": wrong})
    assert code == 1
    assert "does not know this RENDER_DEPLOY_HOOK (401)" in told
    assert "anothers-key" not in told
    code, told = deployer.try_out(**{**settings, "URL": ""}, VERIFY="yes")
    assert code == 2
    for said in ("URL is not set", "API_KEY, ADMIN_API_KEY, METRICS_TOKEN not set"):
        assert said in told


def test_a_hook_deploys_and_watches_the_address_and_is_never_rolled_back(
    deployer: Deployer, render: FakeRender
) -> None:
    settings, head = hook_settings(deployer, render.address), deployer.checkout.head
    render.serves = OLD
    code, told = deployer.try_out(**settings, DEPLOY_MINUTES="0.001")
    assert code == 1
    assert f"{head[:7]} does not answer at {render.address}" in told
    assert "not rolled back, which takes a RENDER_API_KEY" in told
    render.serves = head
    code, told = deployer.try_out(**settings)
    assert (code, [deploy.commit for deploy in render.deploys]) == (0, [head, head])
    assert f"by its hook: {render.deploys[0].id}" in told
    code, told = deployer.try_out(**settings, **VERIFY, **VARIABLES)  # the fake explains nothing
    assert code == 1
    assert "Not verified, and not rolled back" in told
