from __future__ import annotations

import ast
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.setup_machine import debian, environment, machine
from ops.setup_machine.commands import OFFLINE_REMEDY, SetupError, clean_environment, output_of, run
from ops.setup_machine.environment import LOCKS, Environment, find_python
from ops.setup_machine.uv import from_pip, locked_requirement
from shared.build import ROOT

UV = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment from locks without packages: making it needs no network."""
    monkeypatch.setattr(environment, "find_uv", lambda: UV)
    for lock in LOCKS.values():
        (tmp_path / lock).write_text("# nothing\n")
    made = Environment(tmp_path)
    assert made.ensure("tools") is True
    return made


def locked(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_an_environment_is_made_once_finds_the_client_and_keeps_its_tools(made: Environment) -> None:
    assert made.ensure("tools") is False
    look = output_of(str(made.python), "-c", "import sys; print(sys.path)")
    assert str(made.root / "client") not in (look or "")  # it is not there
    (made.root / "client").mkdir()
    assert str(made.root / "client") in (
        output_of(str(made.python), "-c", "import sys; print(sys.path)") or ""
    )
    assert made.ensure("dev") is True
    assert made.ensure("tools") is False
    (made.root / LOCKS["dev"]).write_text("# another day\n")
    assert made.ensure("tools") is True
    assert json.loads(made.stamp.read_text())["kind"] == "dev"


@pytest.mark.parametrize("stamp", [None, "{", '["tools"]', '{"kind": "runtime"}'])
def test_what_was_left_half_made_is_made_again_from_the_start(made: Environment, stamp: str | None) -> None:
    half_made = made.folder / "half-made"
    half_made.write_text("")
    if stamp is None:
        made.python.unlink()
        made.python.symlink_to(made.root / "gone")
    else:
        made.stamp.write_text(stamp)
    assert made.ensure("tools") is True
    assert not half_made.exists()
    assert made.ensure("tools") is False


def test_a_python_that_fits_is_found_without_being_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(find_python()).resolve() == Path(sys.executable).resolve()
    shim = program(tmp_path, "python3", "echo 'pyenv: python3: command not found'; exit 127")
    monkeypatch.setattr(sys, "_base_executable", str(shim))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python() == environment.PYTHONS  # uv looks for one
    versions = tmp_path / "versions"
    for version, code in (("3.12.4", 0), ("3.13.1", 0), ("3.13.0", 0), ("3.11.9", 0), ("3.13.2", 1)):
        (versions / version).mkdir(parents=True)
        program(versions / version / "bin", "python", f"exit {code}")
    assert find_python() == str(versions / "3.13.1" / "bin" / "python")


@pytest.mark.parametrize(
    ("line", "offline"), [("cause: dns error", True), ("No space left on device", False)]
)
def test_a_failing_program_is_shown_by_its_last_lines_and_a_missing_network_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, *, offline: bool
) -> None:
    failing = program(tmp_path, "uv", f"for i in $(seq 50); do echo line $i; done; echo '{line}'; exit 3")
    with pytest.raises(SetupError, match=r"(?s)line 37\n.*line 50") as caught:
        run("Installing", str(failing))
    assert (OFFLINE_REMEDY in str(caught.value)) is offline
    assert "line 36\n" not in str(caught.value)
    assert capsys.readouterr().out == "Installing …\n"


def test_variables_that_mislead_are_left_out_of_programs_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/other")
    monkeypatch.setenv("VIRTUAL_ENV", "/other")
    assert "/other" not in clean_environment({"X": "y"}).values()
    assert clean_environment({"X": "y"})["X"] == "y"


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


def test_valkey_is_as_good_as_redis_and_without_both_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="apt-get install redis-server") as caught:
        machine.ensure_redis_server()
    assert "\n" not in str(caught.value)
    program(tmp_path, "valkey-server", "echo v=8")
    machine.ensure_redis_server()


@pytest.mark.parametrize("apt", [True, False])
def test_without_the_font_and_kernels_set_up_goes_on_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, apt: bool
) -> None:
    def fail(package: str) -> None:
        raise SetupError(f"no {package}")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "find_font", lambda: None)
    monkeypatch.setattr(machine, "is_current", lambda: False)
    monkeypatch.setattr(debian, "can_install", lambda: apt)
    monkeypatch.setattr(debian, "install", fail)
    machine.ensure_font()
    machine.ensure_kernels()
    said = capsys.readouterr().out
    assert "apt-get install fonts-dejavu-core" in said
    assert "works with XGBoost's engine" in said
    program(tmp_path, "cc", "echo 'cc: error: no input' >&2; exit 1")
    machine.ensure_kernels()
    assert "could not be built" in capsys.readouterr().out


def test_each_lock_holds_all_of_the_one_before_it_and_only_the_tools_need_the_client() -> None:
    runtime, tools, dev = map(locked, ("requirements.lock", *LOCKS.values()))
    assert {name: tools.get(name) for name in runtime} == runtime
    assert {name: dev.get(name) for name in tools} == tools
    assert {"httpx", "httpcore", "pyyaml"} <= {*tools} - {*runtime}


def test_no_lock_names_a_registry() -> None:
    for lock in ("requirements.lock", *LOCKS.values(), "ops/container/sbom.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")


def test_uv_is_cut_out_of_the_lock_with_its_hashes() -> None:
    text = (ROOT / LOCKS["dev"]).read_text()
    requirement = locked_requirement(text, "uv")
    assert requirement.startswith("uv==")
    assert "--hash=sha256:" in requirement
    assert requirement.count("==") == 1
    with pytest.raises(SetupError, match="no-such-package"):
        locked_requirement(text, "no-such-package")


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "ops" / "setup_machine").glob("*.py")), ROOT / "shared" / "treeshap" / "build.py"],
    ids=lambda path: path.name,
)
def test_the_set_up_is_written_in_the_language_of_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_bare_make_lists_targets_that_can_be_planned() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^  make (\S+) +\S", listed, re.MULTILINE)
    assert {"run", "demo", "test", "nightly", "lint", "lock", "models", "clean"} <= {*targets}
    subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, check=True)
