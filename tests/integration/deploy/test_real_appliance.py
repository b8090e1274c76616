"""A deploy of the real appliance."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import Appliance
from ops.render.served import look
from tests.integration.deploy.conftest import Deployer, assert_without_secrets
from tests.integration.deploy.fake_render import KEY, VARIABLES, FakeDeploy


def test_a_deploy_is_checked_started_and_verified_without_a_secret_on_any_command_line(
    deployer: Deployer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    service = Appliance(tmp_path / "data", {"WORKERS": "1", **VARIABLES})
    start, commands = subprocess.Popen.__init__, list[str]()

    def serve(deploy: FakeDeploy) -> None:
        service.environment["RENDER_GIT_COMMIT"] = deploy.commit
        service.start()

    def note_and_start(self: Any, words: list[str], *arguments: Any, **options: Any) -> None:
        commands.append(" ".join(words))
        start(self, words, *arguments, **options)

    deployer.render.url, deployer.render.on_live = service.url, serve
    monkeypatch.setattr(subprocess.Popen, "__init__", note_and_start)
    # A key for another appliance in the environment must not have a good deploy taken back.
    keys = {
        "RENDER_API_KEY": "",
        "RENDER_API_KEY_FILE": str(tmp_path / "key"),
        "API_KEY": "another-appliances-key",
    }
    try:
        code, told = deployer.deploy(PREFLIGHT="yes", IMAGE="no", VERIFY="yes", **keys)
        served = look(service.url)
    finally:
        service.stop()
    assert code == 0, told
    for said in ("clean at", "origin/main has", "1 verified", "valid by its rules; and by Render's"):
        assert said in told
    assert "is live and verified" in told
    assert (served.commit, served.ready) == (deployer.checkout.head, True)
    assert any("ls-remote" in command for command in commands)
    assert_without_secrets("\n".join(commands))
