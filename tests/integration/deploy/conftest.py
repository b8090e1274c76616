"""Deploys of a clone of this repository, with a fake Render API."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.lab.trial_appliance import environment_without_settings
from ops.render.deploy import deploy
from ops.render.display import run_tool
from shared.build import ROOT
from tests.integration.deploy.fake_render import (
    HOOK_KEY,
    KEY,
    READING_KEY,
    SERVICE,
    UNKNOWN_KEY,
    VARIABLES,
    FakeRender,
)

#: The files that a preflight checks, and models that it need not try.
TAKEN = ("models", "ops/render", "render.yaml", "Dockerfile", ".gitignore")
LEFT_OUT = ("*.py", "__pycache__", "wine", "breast-cancer")
SECRETS = (KEY, READING_KEY, UNKNOWN_KEY, HOOK_KEY, *VARIABLES.values())
IDENTITY = ("user.name=tests", "user.email=tests@localhost", "init.defaultBranch=main")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A clone with a remote that has all its commits."""

    folder: Path

    def git(self, *words: str) -> str:
        command = ["git", *(word for one in IDENTITY for word in ("-c", one)), *words]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self) -> None:
        """Make a commit that changes nothing."""
        self.git("commit", "-q", "--allow-empty", "-m", "another one")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("clone") / "shapbox"
    folder.mkdir()
    for name in TAKEN:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(ROOT / name, folder / name)
    made, remote = Checkout(folder), folder.with_name("remote.git")
    made.git("init", "-q", "--bare", str(remote))
    made.git("init", "-q")
    made.git("add", "--all")
    made.git("commit", "-q", "-m", "all of it")
    made.git("remote", "add", "origin", str(remote))
    made.git("push", "-q", "--set-upstream", "origin", "main")
    return made


@dataclass(slots=True)
class Deployer:
    """Runs deploys against one fake, and sees that none of them shows a secret."""

    render: FakeRender
    host: str
    checkout: Checkout

    def deploy(self, **settings: str) -> tuple[int, str]:
        """Deploy in this process; return the exit code and the output."""
        output = io.StringIO()
        code = run_tool(deploy, [], self.environment(**settings), output, self.checkout.folder)
        assert_without_secrets(output.getvalue())
        return code, output.getvalue()

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            **environment_without_settings(),
            "RENDER_HOST": self.host,
            "RENDER_API_KEY": KEY,
            "DEPLOY_POLL_SECONDS": "0.01",
            "PREFLIGHT": "no",
            "VERIFY": "no",
            **settings,
        }

    def hook_settings(self, url: str) -> dict[str, str]:
        """Return the settings of a deploy by its hook, without any key."""
        hook = f"{self.render.address}/deploy/{SERVICE}?key={HOOK_KEY}"
        return {"RENDER_API_KEY": "", "RENDER_DEPLOY_HOOK": hook, "URL": url}


def assert_without_secrets(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.fixture
def render() -> FakeRender:
    return FakeRender()


@pytest.fixture
def deployer(render: FakeRender, checkout: Checkout) -> Iterator[Deployer]:
    with render.serving() as host:
        yield Deployer(render, host, checkout)
