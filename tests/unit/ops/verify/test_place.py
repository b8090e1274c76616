from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.verify.place import VerifyPlace, options_for
from shared.build import ROOT
from shared.errors import SettingsError

KEY, ADMIN = "an-api-key-of-16-or-more", "an-admin-key-of-16-or-more"


def test_a_remote_appliance_is_visited_with_the_keys_of_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "admin"
    secret.write_text(f"{ADMIN}\n")
    # This machine's own settings are none of that service's, and may be broken.
    environment = {"API_KEY": KEY, "ADMIN_API_KEY_FILE": str(secret), "PORT": "x", "DATA_DIR": str(tmp_path)}
    options = options_for(VerifyPlace("https://box.example/", "ABCDEF1", 2.5), environment)
    assert options.url == "https://box.example"
    assert (options.api_key, options.admin_api_key, options.metrics_token) == (KEY, ADMIN, None)
    assert (options.expect_commit, options.soak_minutes) == ("abcdef1", 2.5)


def test_the_appliance_of_this_machine_is_found_by_its_settings_and_its_keys_files(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "API_KEY").write_text(f"{KEY}\n")
    options = options_for(VerifyPlace(), {"DATA_DIR": str(tmp_path), "PORT": "8123", "ADMIN_API_KEY": ADMIN})
    assert options.url == "http://127.0.0.1:8123"
    assert (options.api_key, options.admin_api_key, options.metrics_token) == (KEY, ADMIN, None)


@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        (VerifyPlace("https://box.example"), {}, "set API_KEY"),
        (VerifyPlace("https://box.example"), {"METRICS_TOKEN": KEY}, "set API_KEY"),
        (VerifyPlace("https://box.example"), {"API_KEY": "short"}, "at least 16 characters"),
        (VerifyPlace("box.example"), {"API_KEY": KEY}, "write https://"),
        (VerifyPlace("ftp://box.example"), {"API_KEY": KEY}, "write https://"),
        (VerifyPlace("https://box.example:x"), {"API_KEY": KEY}, "no address"),
        (VerifyPlace("https://me:secret@box.example"), {"API_KEY": KEY}, "an address alone"),
        (VerifyPlace("https://box.example/?key=secret"), {"API_KEY": KEY}, "an address alone"),
        (VerifyPlace("https://box.example", "main"), {"API_KEY": KEY}, "no commit"),
        (VerifyPlace(), {"PORT": "x"}, "PORT"),
        (VerifyPlace(), {"DATA_DIR": "nowhere"}, "set DATA_DIR"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    place: VerifyPlace, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        options_for(place, environment)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "key", "code"),
    [
        (["--url", "http://127.0.0.1:1"], "", 2),
        (["--soak", "-1"], KEY, 2),
        (["--format", "xml"], KEY, 2),
        (["--url", "http://127.0.0.1:1"], KEY, 1),
    ],
)
def test_the_exit_code_tells_what_failed_from_what_could_not_run(
    words: list[str], key: str, code: int
) -> None:
    environment = {"PATH": os.environ["PATH"], "API_KEY": key}
    ended = subprocess.run(
        [sys.executable, "-m", "ops.verify", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert KEY not in ended.stdout + ended.stderr
