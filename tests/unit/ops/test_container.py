from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ops.container.__main__ import home_box
from ops.container.engine import DockerError, docker
from shared.errors import SettingsError

SECRET = "a-secret-of-some-length"


def test_the_container_is_confined_and_has_this_machines_settings_but_for_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\nprintf "$API_KEY" > {tmp_path}/seen\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    box = home_box(given)
    assert box.url == "http://127.0.0.1:8080"
    box.run()
    words = (tmp_path / "words").read_text().splitlines()
    passed_on = {name for option, name in itertools.pairwise(words) if option == "-e"}
    assert passed_on == {"BATCH_ROWS", "API_KEY", "MODELS_DIR", "STORAGE_URL", "AWS_REGION"}
    assert SECRET not in " ".join(words)  # where every process of the machine could read it
    assert (tmp_path / "seen").read_text() == SECRET
    assert box.environment["MODELS_DIR"] == "/models"
    assert {
        "--memory=512m",
        "--memory-swap=512m",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--publish=127.0.0.1:8080:10000",
        f"--volume={tmp_path}:/models:ro",
    } <= set(words)


def test_wrong_settings_and_a_machine_without_docker_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="WORKERS"):
        home_box({"WORKERS": "many"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerError, match="make run"):
        docker("info")
