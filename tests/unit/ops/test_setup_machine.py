from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.setup_machine import environment, machine
from ops.setup_machine.commands import OFFLINE_REMEDY, SetupError, clean_environment, run
from ops.setup_machine.environment import LOCKS, ensure_environment, find_python
from ops.setup_machine.uv import from_pip, locked_requirement
from shared.build import ROOT

UV = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def locked(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_an_environment_is_made_once_keeps_its_tools_and_is_made_anew_where_it_was_left_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: UV)
    for lock in LOCKS.values():  # locks without packages need no network
        (tmp_path / lock).write_text("# nothing\n")
    (tmp_path / "client").mkdir()
    venv = tmp_path / ".venv"
    python, stamp, half_made = venv / "bin" / "python", venv / "shapbox-stamp.json", venv / "half-made"
    assert ensure_environment(tmp_path, "tools")
    assert not ensure_environment(tmp_path, "tools")
    path = subprocess.run(
        [python, "-c", "import sys; print(sys.path)"], capture_output=True, text=True, check=True
    )
    assert str(tmp_path / "client") in path.stdout
    assert ensure_environment(tmp_path, "dev")
    assert not ensure_environment(tmp_path, "tools")
    half_made.touch()
    (tmp_path / LOCKS["dev"]).write_text("# another day\n")
    assert ensure_environment(tmp_path, "tools")
    assert half_made.exists()
    assert not ensure_environment(tmp_path, "dev")
    stamp.write_text('{"kind": "runtime"}')
    assert ensure_environment(tmp_path, "tools")
    assert not half_made.exists()
    half_made.touch()
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert ensure_environment(tmp_path, "tools")
    assert not half_made.exists()


def test_a_python_that_fits_is_found_without_being_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(find_python()).resolve() == Path(sys.executable).resolve()
    shim = program(tmp_path, "python3", "echo 'pyenv: python3: command not found'; exit 127")
    monkeypatch.setattr(sys, "_base_executable", str(shim))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python() == environment.PYTHONS  # uv looks for one
    for version, code in (("3.12.4", 0), ("3.13.1", 0), ("3.11.9", 0), ("3.13.2", 1)):
        program(tmp_path / "versions" / version / "bin", "python", f"exit {code}")
    assert find_python() == str(tmp_path / "versions" / "3.13.1" / "bin" / "python")


def test_programs_get_no_variables_that_mislead_and_one_that_fails_is_named_with_what_may_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/other")
    assert "PYTHONPATH" not in clean_environment()
    with pytest.raises(SetupError, match=r"Installing: `.*/uv .*failed with 3") as caught:
        run(
            "Installing", str(program(tmp_path, "uv", 'test "$X$PYTHONPATH" = y && exit 3')), extra={"X": "y"}
        )
    assert OFFLINE_REMEDY in str(caught.value)


def test_pips_indexes_are_uvs_and_the_environment_wins() -> None:
    listed = """:env:.find-links='/wheels'
global.cert='/ca.pem'
global.extra-index-url='file:///one file:///two'
global.find-links='/others /more'
global.index-url='https://mirror.example/simple'
"""
    assert from_pip(listed) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "file:///one file:///two",
        "UV_FIND_LINKS": "/wheels",
    }


def test_only_redis_must_be_there_and_without_font_and_kernels_set_up_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(package: str) -> None:
        raise SetupError(f"no {package}")

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="apt-get install redis-server"):
        machine.ensure_redis_server()
    program(tmp_path, "valkey-server", "echo v=8")
    machine.ensure_redis_server()
    monkeypatch.setattr(machine, "find_font", lambda: None)
    monkeypatch.setattr(machine, "is_current", lambda: False)
    monkeypatch.setattr(machine, "can_install", lambda: True)
    monkeypatch.setattr(machine, "install", fail)
    machine.ensure_font()
    machine.ensure_kernels()
    program(tmp_path, "cc", "echo 'cc: error: no input' >&2; exit 1")
    machine.ensure_kernels()
    said = capsys.readouterr().out
    for words in ("apt-get install fonts-dejavu-core", "works with XGBoost's engine", "could not be built"):
        assert words in said


def test_each_lock_holds_all_of_the_one_before_it_with_hashes_and_names_no_registry() -> None:
    runtime, tools, dev = map(locked, ("requirements.lock", *LOCKS.values()))
    assert runtime.items() <= tools.items() <= dev.items()
    assert {"httpx", "httpcore", "pyyaml"} <= {*tools} - {*runtime}
    for lock in ("requirements.lock", *LOCKS.values(), "ops/container/sbom.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
    requirement = locked_requirement((ROOT / LOCKS["dev"]).read_text(), "uv")
    assert requirement.startswith("uv==")
    assert "--hash=sha256:" in requirement
    assert requirement.count("==") == 1


def test_the_set_up_is_written_in_the_language_of_python_3_8() -> None:
    for path in (*(ROOT / "ops" / "setup_machine").glob("*.py"), ROOT / "shared" / "treeshap" / "build.py"):
        ast.parse(path.read_text(), str(path), feature_version=(3, 8))


def test_bare_make_lists_targets_that_can_be_planned() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^  make (\S+) +\S", listed, re.MULTILINE)
    assert {"run", "demo", "test", "nightly", "lint", "lock", "models", "clean"} <= {*targets}
    subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, check=True)
