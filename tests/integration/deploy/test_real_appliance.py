"""A deploy of the real appliance, as a program."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ops.lab.trial_appliance import Appliance
from ops.render.served import look
from tests.integration.deploy.conftest import Deployer, assert_without_secrets
from tests.integration.deploy.fake_render import KEY, VARIABLES, FakeDeploy


def test_a_deploy_is_checked_started_and_verified_without_a_secret_on_any_command_line(
    deployer: Deployer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    service = Appliance(tmp_path / "data", {"WORKERS": "1", **VARIABLES})

    def serve(deploy: FakeDeploy) -> None:
        service.environment["RENDER_GIT_COMMIT"] = deploy.commit
        service.start()

    deployer.render.url, deployer.render.on_live = service.url, serve
    environment = deployer.environment(
        RENDER_API_KEY="",
        RENDER_API_KEY_FILE=str(tmp_path / "key"),
        # A key for another appliance in the environment must not have a good deploy taken back.
        API_KEY="another-appliances-key-0123456789",
        PATH=git_that_notes_its_command_lines(tmp_path),
        PREFLIGHT="yes",
        IMAGE="no",
        VERIFY="yes",
        PYTHONDONTWRITEBYTECODE="1",
    )
    command = [sys.executable, "-m", "ops.render.deploy"]
    try:
        with command_lines() as seen:
            done = subprocess.run(
                command,
                cwd=deployer.checkout.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        served = look(service.url)
    finally:
        service.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("clean at", "origin/main has", "1 verified", "valid by its rules; and by Render's"):
        assert said in done.stdout
    assert "is live and verified" in done.stdout
    assert (served.commit, served.ready) == (deployer.checkout.head, True)
    lines = "\n".join([*seen, (tmp_path / "git-calls").read_text()])
    assert "ops.render.deploy" in lines
    assert "ls-remote" in lines
    assert_without_secrets(lines + done.stdout + done.stderr)


def git_that_notes_its_command_lines(folder: Path) -> str:
    """Return a PATH that begins with it: git exits too soon to be seen among processes."""
    shim = folder / "git"
    notes = f'printf "%s\\n" "git $*" >> "{folder}/git-calls"'
    shim.write_text(f'#!/bin/sh\n{notes}\nexec "{shutil.which("git")}" "$@"\n')
    shim.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Collect the command lines of all processes while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.5):
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
