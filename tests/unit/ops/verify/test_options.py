from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.verify.__main__ import options_for
from ops.verify.visit import VerifyOptions
from shared.build import ROOT
from shared.errors import SettingsError

KEY, ADMIN = "an-api-key-of-16-or-more", "an-admin-key-of-16-or-more"
BOX = "https://box.example"


def read(environment: dict[str, str], url: str | None = None, commit: str | None = None) -> VerifyOptions:
    return options_for(argparse.Namespace(url=url, expect_commit=commit, soak=2.5), environment)


def test_a_remote_appliance_is_visited_with_the_keys_of_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "admin"
    secret.write_text(f"{ADMIN}\n")
    # This machine's own settings are none of that service's, and may be broken.
    environment = {"API_KEY": KEY, "ADMIN_API_KEY_FILE": str(secret), "PORT": "x", "DATA_DIR": str(tmp_path)}
    options = read(environment, f"{BOX}/", "ABCDEF1")
    assert (options.url, options.keys) == (BOX, {"API_KEY": KEY, "ADMIN_API_KEY": ADMIN})
    assert (options.expect_commit, options.soak_minutes) == ("abcdef1", 2.5)


def test_the_appliance_of_this_machine_is_found_by_its_settings_and_its_keys_files(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "API_KEY").write_text(f"{KEY}\n")
    options = read({"DATA_DIR": str(tmp_path), "PORT": "8123", "ADMIN_API_KEY": ADMIN})
    assert options.url == "http://127.0.0.1:8123"
    assert options.keys == {"API_KEY": KEY, "ADMIN_API_KEY": ADMIN}


@pytest.mark.parametrize(
    ("url", "commit", "environment", "said"),
    [
        (BOX, None, {"METRICS_TOKEN": KEY}, "set API_KEY"),
        (BOX, None, {"API_KEY": "short"}, "at least 16 characters"),
        (BOX, "main", {"API_KEY": KEY}, "no commit"),
        ("box.example", None, {"API_KEY": KEY}, "write https://"),
        ("ftp://box.example", None, {"API_KEY": KEY}, "write https://"),
        ("https://box.example:x", None, {"API_KEY": KEY}, "no address"),
        ("https://me:secret@box.example", None, {"API_KEY": KEY}, "an address alone"),
        ("https://box.example/?key=secret", None, {"API_KEY": KEY}, "an address alone"),
        (None, None, {"PORT": "x"}, "PORT"),
        (None, None, {"DATA_DIR": "nowhere"}, "set DATA_DIR"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_what_to_do(
    url: str | None, commit: str | None, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read(environment, url, commit)
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
def test_the_exit_code_tells_a_failure_from_a_visit_that_could_not_be_made(
    words: list[str], key: str, code: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ops.verify", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "API_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert KEY not in ended.stdout + ended.stderr
