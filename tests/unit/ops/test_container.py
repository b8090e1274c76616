from __future__ import annotations

from pathlib import Path

import pytest

from ops.container.__main__ import home_box
from ops.container.box import Box
from ops.container.engine import DockerError, docker
from shared.errors import SettingsError

SECRET = "a-secret-of-some-length"


def test_the_containers_settings_are_those_of_this_machine_but_for_its_places(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    given = {
        "PORT": "8080",
        "BATCH_ROWS": "100",
        "WORKERS": " ",
        "HOME": "/root",
        "DATA_DIR": "/somewhere",
        "MODELS_DIR": str(tmp_path),
        "API_KEY_FILE": str(tmp_path / "key"),
        "STORAGE_URL": "s3://bucket",
        "AWS_REGION": "eu-central-1",
        "AWSOME": "no",
    }
    box = home_box(given)
    assert box.url == "http://127.0.0.1:8080"
    assert f"--volume={tmp_path}:/models:ro" in box.options
    assert dict(box.environment) == {
        "BATCH_ROWS": "100",
        "API_KEY": SECRET,
        "MODELS_DIR": "/models",
        "STORAGE_URL": "s3://bucket",
        "AWS_REGION": "eu-central-1",
    }
    with pytest.raises(SettingsError, match="WORKERS"):
        home_box({"WORKERS": "many"})


def test_it_is_confined_and_no_secret_is_on_dockers_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\nfor word; do echo "$word"; done > {tmp_path}/words\necho "$API_KEY" > {tmp_path}/key\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    Box("box", 8080, "data", {"API_KEY": SECRET}).run()
    words = (tmp_path / "words").read_text().splitlines()
    assert SECRET not in " ".join(words)
    assert words[words.index("-e") + 1] == "API_KEY"
    assert (tmp_path / "key").read_text().strip() == SECRET
    assert {
        "--memory=512m",
        "--memory-swap=512m",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--publish=127.0.0.1:8080:10000",
    } <= set(words)


def test_a_machine_without_docker_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerError, match="make run"):
        docker("info")
