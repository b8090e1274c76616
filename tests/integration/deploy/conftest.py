"""`python -m ops.render.deploy` in a clone of this repository, with a fake Render API."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.lab.trial_appliance import environment_without_settings
from ops.render.deploy import main
from shared.build import ROOT
from tests.integration.deploy.fake_render import HOOK_KEY, KEY, READING_KEY, VARIABLES, FakeRender

#: The files of a deploy: all that its preflight checks, and those models that it need not try.
TAKEN = ("ops", "shared", "services", "models", "render.yaml", "Dockerfile", "supervisord.conf", ".gitignore")
LEFT_OUT = ("__pycache__", "wine", "breast-cancer")
SECRETS = (KEY, READING_KEY, HOOK_KEY, *VARIABLES.values())
#: Seconds that one deploy may take before a test gives it up.
DEPLOY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Checkout:
    """A clone with a remote that has all its commits."""

    folder: Path

    def git(self, *words: str) -> str:
        identity = [
            "-c",
            "user.name=tests",
            "-c",
            "user.email=tests@localhost",
            "-c",
            "init.defaultBranch=main",
        ]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self) -> str:
        """Make a commit that changes nothing, and push it."""
        self.git("commit", "-q", "--allow-empty", "-m", "another one")
        self.git("push", "-q")
        return self.head


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("clone") / "shapbox"
    folder.mkdir()
    for name in TAKEN:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(ROOT / name, folder / name)
    made = Checkout(folder)
    remote = folder.with_name("remote.git")
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

    def try_out(self, **settings: str) -> tuple[int, str]:
        """Deploy in this process; return the exit code and the output."""
        output = io.StringIO()
        code = main([], self.environment(**settings), output, self.checkout.folder)
        assert without_secrets(output.getvalue())
        return code, output.getvalue()

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            **environment_without_settings(),
            "RENDER_HOST": self.host,
            "RENDER_API_KEY": KEY,
            "DEPLOY_POLL_SECONDS": "0.02",
            "PREFLIGHT": "no",
            "VERIFY": "no",
            "PYTHONDONTWRITEBYTECODE": "1",
            **settings,
        }

    def run(self, **settings: str) -> subprocess.CompletedProcess[str]:
        """Deploy with these settings; both outputs are in `stdout`."""
        done = subprocess.run(
            [sys.executable, "-m", "ops.render.deploy"],
            cwd=self.checkout.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
        )
        assert without_secrets(done.stdout)
        return done

    def start(self, output: int, **settings: str) -> subprocess.Popen[bytes]:
        """Begin a deploy that writes there, such as a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "ops.render.deploy"],
            cwd=self.checkout.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def without_secrets(text: str, secrets: tuple[str, ...] = SECRETS) -> bool:
    """Return whether none of them stands in a text, naming the one that does."""
    assert [secret for secret in secrets if secret in text] == []
    return True


@pytest.fixture
def render() -> FakeRender:
    return FakeRender()


@pytest.fixture
def deployer(render: FakeRender, checkout: Checkout) -> Iterator[Deployer]:
    with render.serving() as host:
        yield Deployer(render, host, checkout)


def hook_settings(deployer: Deployer, url: str) -> Mapping[str, str]:
    """Return the settings of a deploy by its hook, without any key."""
    address = deployer.host.removesuffix("/v1")
    hook = f"{address}/deploy/srv-c0ffee0123456789abcd?key={HOOK_KEY}"
    return {"RENDER_API_KEY": "", "RENDER_DEPLOY_HOOK": hook, "URL": url}
