"""Deploys of the real appliance: good ones stay, bad ones are rolled back."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ops.render.served import look
from tests.integration.deploy.conftest import Deployer, hook_settings, without_secrets
from tests.integration.deploy.fake_render import KEY, VARIABLES, FakeDeploy, FakeRender
from tests.integration.deploy.real_service import RealService


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    running = RealService(tmp_path_factory.mktemp("service"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def deployed(deployer: Deployer, render: FakeRender, service: RealService) -> Deployer:
    """Let each deploy that goes live start the real appliance; one of an earlier commit is live."""
    render.url = service.url
    commit = look(service.url).commit
    if commit is None:
        commit = deployer.checkout.head
        service.serve(commit)
    render.add_deploy(commit, status="live")
    render.on_live = lambda deploy: service.serve(deploy.commit)
    return deployer


def broken(deployed: Deployer, service: RealService, commit: str) -> None:
    """Let this commit start with a placeholder for a model, and every other one well."""

    def serve(deploy: FakeDeploy) -> None:
        settings = {"ALLOW_FALLBACK_MODEL": "true", "MODELS_DIR": service.models_with_a_broken_one()}
        service.serve(deploy.commit, **(settings if deploy.commit == commit else {}))

    deployed.render.on_live = serve


def test_the_first_deploy_is_checked_started_and_verified_without_a_secret_on_any_command_line(
    deployed: Deployer, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    deployed.checkout.commit()
    # A key for another appliance in the environment must not have a good deploy taken back.
    settings = {
        "RENDER_API_KEY": "",
        "RENDER_API_KEY_FILE": str(key_file),
        "API_KEY": "another-appliances-key-0123456789",
        "PATH": git_that_notes_its_command_lines(tmp_path),
    }
    with command_lines() as seen:
        done = deployed.run(PREFLIGHT="yes", IMAGE="no", VERIFY="yes", **settings)
    assert done.returncode == 0, done.stdout
    for said in ("clean at", "origin/main is at", "1 verified", "valid by its rules and by Render's"):
        assert said in done.stdout
    assert "is live and verified" in done.stdout
    assert look(deployed.render.url).commit == deployed.checkout.head
    lines = "\n".join([*seen, (tmp_path / "git-calls").read_text()])
    assert "ops.render.deploy" in lines
    assert "ls-remote" in lines
    assert without_secrets(lines)


def git_that_notes_its_command_lines(folder: Path) -> str:
    """Return a PATH that begins with it: git exits too soon to be seen among processes."""
    shim = folder / "git"
    shim.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "git $*" >> "{folder}/git-calls"\nexec "{shutil.which("git")}" "$@"\n'
    )
    shim.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Collect the command lines of all processes while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.2):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_deploy_that_comes_up_broken_is_taken_back(deployed: Deployer, service: RealService) -> None:
    before, commit = look(service.url).commit or "", deployed.checkout.commit()
    broken(deployed, service, commit)
    done = deployed.run(VERIFY="yes")
    assert done.returncode == 1
    assert "diabetes@1 is a fallback" in done.stdout
    assert f"Rolling back to {deployed.render.deploys[2].id} ({before[:7]})" in done.stdout
    assert f"commit {before[:7]} answers, healthy and ready" in done.stdout
    assert deployed.render.orders("/rollback") == 1
    served = look(service.url)
    assert (served.commit, served.ready) == (before, True)


def test_a_commit_that_boot_refuses_fails_with_boots_own_words_and_the_old_one_goes_on(
    deployed: Deployer, service: RealService
) -> None:
    before = look(service.url).commit or ""
    deployed.checkout.commit()
    deployed.render.script = ("created", "build_in_progress", "update_in_progress", "update_failed")
    deployed.render.logs["app"] = service.refusal({"WORKERS": "many"})
    done = deployed.run(VERIFY="yes")
    assert done.returncode == 1
    assert "  |   - WORKERS: 'many' is not a whole number" in done.stdout
    assert f"commit {before[:7]} answers, healthy and ready" in done.stdout
    assert deployed.render.orders("/rollback") == 0


def test_a_deploy_that_never_answers_with_its_commit_is_taken_back_to_what_does(
    deployed: Deployer, service: RealService
) -> None:
    before = look(service.url).commit
    deployed.checkout.commit()
    # The old container is called live: the new commit never takes over.
    deployed.render.on_live = lambda _deploy: None
    done = deployed.run(VERIFY="yes", SETTLE_SECONDS="1")
    assert done.returncode == 1
    assert "Rolled back" in done.stdout
    assert look(service.url).commit == before


def test_no_rollback_is_ordered_where_nobody_wants_it_or_another_deploy_is_live(deployed: Deployer) -> None:
    deployed.checkout.commit()
    deployed.render.on_live = lambda _deploy: None
    done = deployed.run(VERIFY="yes", ROLLBACK="no", SETTLE_SECONDS="1")
    assert done.returncode == 1
    assert "stays live" in done.stdout

    def supersede(_deploy: FakeDeploy) -> None:
        deployed.render.add_deploy("f" * 40, status="live")
        deployed.render.deploys[1].status = "live"  # as it was told last

    deployed.render.on_live = supersede
    done = deployed.run(VERIFY="yes", SETTLE_SECONDS="1")
    assert done.returncode == 1
    assert "is live meanwhile" in done.stdout
    assert deployed.render.orders("/rollback") == 0


def test_a_rollback_that_fails_is_told_with_what_to_do(deployed: Deployer) -> None:
    deployed.checkout.commit()
    deployed.render.on_live = lambda _deploy: None
    deployed.render.post_rollback = lambda _body: (  # type: ignore[method-assign, assignment]
        201,
        deployed.render.add_deploy("0" * 40, "update_failed", trigger="rollback").document(),
    )
    done = deployed.run(VERIFY="yes", SETTLE_SECONDS="1")
    assert done.returncode == 1
    assert "Rolling back has failed" in done.stdout
    assert "https://dashboard.example" in done.stdout


def test_what_render_has_seen_fail_since_the_deploy_is_no_pass(
    deployed: Deployer, service: RealService
) -> None:
    deployed.render.on_live = lambda _deploy: None
    reason = {"evicted": False, "oomKilled": {"memoryLimit": "512Mi"}}
    deployed.render.events = [
        {"type": "server_failed", "timestamp": "2999-01-01T00:00:00Z", "details": {"reason": reason}},
        {
            "type": "server_failed",
            "timestamp": "2001-01-01T00:00:00Z",
            "details": {"reason": {"nonZeroExit": 1}},
        },
    ]
    deployed.checkout.git("checkout", "-q", "--detach", look(service.url).commit or "")
    try:
        done = deployed.run(VERIFY="yes", ROLLBACK="no")
    finally:
        deployed.checkout.git("checkout", "-q", "main")
    assert done.returncode == 1
    assert "killed for memory (limit 512Mi)" in done.stdout
    assert "nonZeroExit" not in done.stdout


def test_a_hook_deploys_watches_the_address_and_verifies_with_the_keys_given(
    deployed: Deployer, service: RealService
) -> None:
    commit = deployed.checkout.commit()
    render = deployed.render

    def start_by_hook(deploy_commit: str, *ahead: str, **more: str) -> FakeDeploy:
        threading.Thread(target=service.serve, args=(deploy_commit,)).start()
        return FakeDeploy("dep-by-hook", deploy_commit, list(ahead), **more)

    render.add_deploy = start_by_hook  # type: ignore[method-assign, assignment]
    done = deployed.run(**hook_settings(deployed, service.url), **VARIABLES, VERIFY="yes")
    assert done.returncode == 0, done.stdout
    assert "dep-by-hook" in done.stdout
    assert look(service.url).commit == commit


def test_a_hook_whose_deploy_is_no_good_cannot_be_taken_back_and_says_so(
    deployed: Deployer, service: RealService
) -> None:
    commit = deployed.checkout.commit()
    settings = {
        "DEPLOY_MINUTES": "0.02",
        "VERIFY": "yes",
        **hook_settings(deployed, service.url),
        **VARIABLES,
    }
    done = deployed.run(**settings)
    assert done.returncode == 1
    assert f"{commit[:7]} does not answer at {service.url}" in done.stdout
    assert "not rolled back, which takes a RENDER_API_KEY" in done.stdout
