"""`python -m ops.render.deploy` through every state that Render's deploys have."""

from __future__ import annotations

import pytest

from tests.integration.deploy.conftest import Deployer
from tests.integration.deploy.fake_render import SERVICE, FakeRender

OLD = "0123456789abcdef0123456789abcdef01234567"


def test_a_deploy_is_followed_until_it_is_live(deployer: Deployer, render: FakeRender) -> None:
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    told = [line.partition(") ")[2] for line in done.stdout.splitlines() if "  dep-" in line]
    assert told == ["is being built", "is starting; Render waits for /healthz", "is live"]
    assert "VERIFY=no was given" in done.stdout
    assert render.deploys[0].commit == deployer.checkout.head
    assert render.orders() == 1


@pytest.mark.parametrize("service", [SERVICE, "shapbox"])
def test_a_service_is_found_by_its_id_and_by_its_name(service: str, deployer: Deployer) -> None:
    assert deployer.run(SERVICE=service).returncode == 0


@pytest.mark.parametrize("service", ["srv-nobody", "other"])
def test_where_there_is_no_service_it_says_how_to_create_one(service: str, deployer: Deployer) -> None:
    done = deployer.run(RENDER_SERVICE=service)
    assert done.returncode == 1
    assert f"no service called {service}" in done.stdout
    assert "/blueprint/new?repo=" in done.stdout
    assert deployer.render.orders() == 0


def test_a_suspended_service_is_not_deployed_to(deployer: Deployer, render: FakeRender) -> None:
    render.suspended = "suspended"
    done = deployer.run()
    assert (done.returncode, render.orders()) == (1, 0)
    assert "resume it in the dashboard" in done.stdout


@pytest.mark.parametrize(
    ("state", "log", "said"),
    [
        ("build_failed", "build", "could not be built"),
        ("pre_deploy_failed", "app", "failed in its pre-deploy command"),
        ("update_failed", "app", "was built, and did not become healthy"),
    ],
)
def test_a_failure_is_told_with_its_stage_its_log_and_what_serves(
    state: str, log: str, said: str, deployer: Deployer, render: FakeRender
) -> None:
    render.add_deploy(OLD, status="live")
    render.script = ("created", "build_in_progress", state)
    render.logs[log] = [f"line {number}" for number in range(50)]
    render.url = "http://127.0.0.1:9"
    done = deployer.run()
    assert done.returncode == 1
    assert said in done.stdout
    assert "  | line 49" in done.stdout
    assert "  | line 10\n" in done.stdout
    assert "  | line 9\n" not in done.stdout
    assert "nothing of ours answers" in done.stdout
    assert render.orders("/rollback") == 0


def test_a_log_that_cannot_be_read_hides_no_failure(deployer: Deployer, render: FakeRender) -> None:
    render.script = ("created", "build_failed")
    render.logs = {}
    done = deployer.run()
    assert done.returncode == 1
    assert "could not be built" in done.stdout
    assert "the log cannot be read" in done.stdout


def test_an_order_that_render_has_taken_without_naming_a_deploy_is_looked_up(
    deployer: Deployer, render: FakeRender
) -> None:
    render.order_is_silent = True
    render.add_deploy(OLD, status="live")
    render.script = ("queued", "build_in_progress", "live")
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert "names no deploy yet" in done.stdout
    assert render.orders() == 1
    assert render.deploys[0].status == "live"


def test_an_order_of_which_nothing_comes_is_not_given_twice(deployer: Deployer, render: FakeRender) -> None:
    render.order_is_silent = True
    render.post_deploy = lambda _body: (202, None)  # type: ignore[method-assign, assignment]
    done = deployer.run()
    assert done.returncode == 1
    assert "shows no deploy" in done.stdout
    assert render.orders() == 1


def test_a_queued_deploy_says_what_it_waits_for(deployer: Deployer, render: FakeRender) -> None:
    ahead = render.add_deploy(OLD, status="build_in_progress")
    render.script = ("queued", "queued", "queued", "build_in_progress", "live")
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert f"waits for {ahead.id} (0123456), which is being built" in done.stdout


def test_a_deploy_of_this_commit_that_is_under_way_is_followed_and_no_second_one_started(
    deployer: Deployer, render: FakeRender
) -> None:
    render.add_deploy(deployer.checkout.head, "build_in_progress", "live", trigger="new_commit")
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert "under way already" in done.stdout
    assert render.orders() == 0


@pytest.mark.parametrize("state", ["canceled", "deactivated"])
def test_a_deploy_that_another_one_has_superseded_is_not_called_good(
    state: str, deployer: Deployer, render: FakeRender
) -> None:
    render.script = ("created", "build_in_progress", state)

    def supersede(deploy: object) -> None:
        if len(render.deploys) == 1 and deploy is render.deploys[0]:
            render.add_deploy(OLD, status="build_in_progress")

    render.on_look = supersede
    done = deployer.run()
    assert done.returncode == 1
    assert f"superseded by {render.deploys[0].id} (0123456), which is being built" in done.stdout


def test_a_deploy_that_somebody_else_has_canceled_is_told_so(deployer: Deployer, render: FakeRender) -> None:
    render.script = ("created", "canceled")
    done = deployer.run()
    assert done.returncode == 1
    assert "was canceled, by somebody else" in done.stdout


def test_a_state_that_nobody_knows_is_not_the_end(deployer: Deployer, render: FakeRender) -> None:
    render.script = ("created", "warming_up", "build_in_progress", "live")
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert "is warming_up, a state that this version does not know" in done.stdout


def test_a_deploy_that_takes_too_long_is_left_to_render(deployer: Deployer, render: FakeRender) -> None:
    render.script = ("build_in_progress",)
    done = deployer.run(DEPLOY_MINUTES="0.01")
    assert done.returncode == 1
    assert "goes on at Render" in done.stdout
    assert "DEPLOY_MINUTES" in done.stdout
    assert render.orders("/cancel") == 0
