from __future__ import annotations

from pathlib import Path

import pytest

from ops.container.box import Box
from ops.container.engine import DockerError, docker
from ops.container.home import home_box
from shared.errors import SettingsError

SECRET = "a-secret-of-some-length"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `docker` on PATH that writes down its words and what it finds in API_KEY."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor word; do echo "$word"; done > {tmp_path}/words\necho "$API_KEY" > {tmp_path}/key\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def test_port_is_the_port_on_this_machine_and_stays_10000_inside() -> None:
    box = home_box({"PORT": "8080"})
    assert box.url == "http://127.0.0.1:8080"
    assert "PORT" not in box.environment


def test_settings_that_are_given_go_into_the_container() -> None:
    box = home_box({"BATCH_ROWS": "100", "WORKERS": " ", "HOME": "/root", "DATA_DIR": "/somewhere"})
    assert dict(box.environment) == {"BATCH_ROWS": "100"}


def test_a_setting_in_a_file_of_this_machine_is_read_here(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert home_box({"API_KEY_FILE": str(tmp_path / "key")}).environment["API_KEY"] == SECRET


def test_models_of_ones_own_are_mounted_read_only(tmp_path: Path) -> None:
    box = home_box({"MODELS_DIR": str(tmp_path)})
    assert f"--volume={tmp_path}:/models:ro" in box.options
    assert box.environment["MODELS_DIR"] == "/models"


def test_a_setting_that_cannot_be_used_is_refused_before_docker_is_asked() -> None:
    with pytest.raises(SettingsError, match="WORKERS"):
        home_box({"WORKERS": "many"})


def test_no_secret_is_on_dockers_command_line(recorded: Path) -> None:
    Box("box", 8080, "data", {"API_KEY": SECRET}).run()
    words = (recorded / "words").read_text().splitlines()
    assert SECRET not in " ".join(words)
    assert words[words.index("-e") + 1] == "API_KEY"
    assert (recorded / "key").read_text().strip() == SECRET


def test_the_container_is_confined_and_swaps_nothing(recorded: Path) -> None:
    Box("box", 8080, "data").run()
    words = (recorded / "words").read_text().splitlines()
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


def test_the_settings_of_a_remote_object_store_go_in_as_well() -> None:
    box = home_box({"STORAGE_URL": "s3://bucket", "AWS_REGION": "eu-central-1", "AWSOME": "no"})
    assert dict(box.environment) == {"STORAGE_URL": "s3://bucket", "AWS_REGION": "eu-central-1"}
