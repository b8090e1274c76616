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
from tests.integration.deploy.conftest import Deployer, without_secrets
from tests.integration.deploy.fake_render import KEY, FakeDeploy, FakeRender
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
    """Start the real appliance with each deploy that goes live; an earlier commit is live."""
    render.url = service.url
    commit = look(service.url).commit
    if commit is None:
        commit = deployer.checkout.head
        service.serve(commit)
    render.add_deploy(commit, status="live")
    render.on_live = lambda deploy: service.serve(deploy.commit)
    return deployer


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


def test_a_deploy_that_comes_up_broken_or_dies_is_taken_back(
    deployed: Deployer, service: RealService
) -> None:
    before, commit = look(service.url).commit or "", deployed.checkout.commit()

    def serve(deploy: FakeDeploy) -> None:
        """Let this commit start with a placeholder for a model, and every other one well."""
        broken = {"ALLOW_FALLBACK_MODEL": "true", "MODELS_DIR": service.models_with_a_broken_one()}
        service.serve(deploy.commit, **(broken if deploy.commit == commit else {}))

    deployed.render.on_live = serve
    reason = {"evicted": False, "oomKilled": {"memoryLimit": "512Mi"}}
    deployed.render.events = [
        {"type": "server_failed", "timestamp": f"{year}-01-01T00:00:00Z", "details": {"reason": why}}
        for year, why in ((2999, reason), (2001, {"nonZeroExit": 1}))
    ]
    done = deployed.run(VERIFY="yes")
    assert done.returncode == 1
    assert "diabetes@1 is a fallback" in done.stdout
    assert "killed for memory (limit 512Mi)" in done.stdout
    assert "nonZeroExit" not in done.stdout
    assert f"Rolling back to {deployed.render.deploys[2].id} ({before[:7]})" in done.stdout
    assert f"commit {before[:7]} answers, healthy and ready" in done.stdout
    assert deployed.render.orders("/rollback") == 1
    served = look(service.url)
    assert (served.commit, served.ready) == (before, True)
