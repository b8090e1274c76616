from __future__ import annotations

import ast
import itertools
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.setup_machine import debian, font, kernels
from ops.setup_machine.commands import clean_environment, run_shown, succeeds
from ops.setup_machine.environment import LOCKS, Environment, _PipProgress
from ops.setup_machine.failure import SetupError
from ops.setup_machine.interpreter import candidates, probe
from ops.setup_machine.redis_server import ensure_redis_server
from ops.setup_machine.uv_python import locked_requirement
from shared.build import ROOT
from shared.font import find_font

#: A lock without packages: making its environment needs no network.
EMPTY_LOCK = "# nothing\n"


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for lock in LOCKS.values():
        (tmp_path / lock).write_text(EMPTY_LOCK)
    return tmp_path


def locked(kind: str) -> dict[str, str]:
    text = (ROOT / LOCKS[kind]).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_the_python_that_runs_us_will_do() -> None:
    found = probe(sys.executable)
    assert found is not None
    assert found == Path(os.path.realpath(found))


def test_a_shim_that_answers_and_does_not_run_is_passed_over(tmp_path: Path) -> None:
    assert (
        probe(str(program(tmp_path, "python3.13", "echo 'pyenv: python3.13: command not found'; exit 127")))
        is None
    )


def test_a_python_that_is_too_old_or_too_new_is_passed_over(tmp_path: Path) -> None:
    for version in ("3.11.9", "3.15.0", "2.7.18", "nonsense"):
        assert probe(str(program(tmp_path, "python3", f"echo {version} /usr/bin/python3"))) is None


def test_names_on_path_come_before_pyenvs_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(tmp_path / "bin", "python3.12", "exit 1")
    (tmp_path / "pyenv" / "versions" / "3.13.1" / "bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert list(candidates()) == [str(on_path), str(tmp_path / "pyenv/versions/3.13.1/bin/python")]


def test_dev_serves_a_run_and_is_never_taken_away(root: Path) -> None:
    environment = Environment(root)
    environment.ensure("dev")
    assert environment.ensure("runtime") is False
    (root / LOCKS["runtime"]).write_text(EMPTY_LOCK + "# another day\n")
    assert environment.ensure("runtime") is True
    assert environment.serves("dev")


@pytest.fixture
def made_for_deploying(root: Path) -> Environment:
    """Fake a finished environment: a Python that runs, and a stamp."""
    environment = Environment(root)
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    environment.write_stamp("deploy")
    return environment


def test_an_environment_for_deploying_serves_a_run_and_not_the_tests(made_for_deploying: Environment) -> None:
    assert [kind for kind in LOCKS if made_for_deploying.serves(kind)] == ["runtime", "deploy"]


def test_a_stamp_that_knows_nothing_of_a_lock_does_not_serve_it(made_for_deploying: Environment) -> None:
    stamp = json.loads(made_for_deploying.stamp.read_text())
    del stamp["deploy"]
    made_for_deploying.stamp.write_text(json.dumps(stamp))
    assert [kind for kind in LOCKS if made_for_deploying.serves(kind)] == ["runtime"]


def test_an_interrupted_set_up_is_made_again_from_the_start(root: Path) -> None:
    environment = Environment(root)
    environment.ensure("runtime")
    environment.stamp.unlink()
    half_made = environment.folder / "half-made"
    half_made.write_text("")
    assert environment.ensure("runtime") is True
    assert not half_made.exists()
    assert environment.ensure("runtime") is False


def test_a_python_that_has_gone_is_replaced(root: Path) -> None:
    environment = Environment(root)
    environment.ensure("runtime")
    environment.python.unlink()
    environment.python.symlink_to(root / "gone")
    assert environment.ensure("runtime") is True
    assert succeeds([str(environment.python), "-c", ""])


def test_a_stamp_that_is_no_json_means_that_nothing_is_known(root: Path) -> None:
    environment = Environment(root)
    environment.folder.mkdir()
    environment.stamp.write_text("{")
    assert not environment.serves("runtime")
    environment.stamp.write_text(json.dumps(["runtime"]))
    assert not environment.serves("runtime")


def test_a_failing_program_is_shown_by_its_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = program(tmp_path, "pip", "for i in $(seq 50); do echo line $i; done; exit 3")
    with pytest.raises(SetupError, match=r"(?s)line 36\n.*line 50"):
        run_shown([str(failing)], "Installing")
    assert capsys.readouterr().out.splitlines() == ["Installing …", "Installing: failed"]


def test_what_misleads_pip_is_left_out_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/other")
    monkeypatch.setenv("PYTHONPATH", "/other")
    environment = clean_environment(PIP_NO_INPUT="1")
    assert "PIP_TARGET" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["PIP_NO_INPUT"] == "1"


def test_pips_progress_is_counted() -> None:
    progress = _PipProgress(28)
    assert (
        progress.describe("Collecting falcon==4.4.0 (from -r requirements.lock (line 3))")
        == "1 of 28, falcon"
    )
    assert progress.describe("  Downloading falcon.whl (320 kB)") is None
    assert progress.describe("Requirement already satisfied: rq==3.0 in ./lib") == "2 of 28, rq"


def test_valkey_is_as_good_as_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "valkey-server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    ensure_redis_server()


def test_without_redis_and_without_apt_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="apt-get install redis-server") as caught:
        ensure_redis_server()
    assert "\n" not in str(caught.value)


def test_without_the_font_and_without_apt_set_up_goes_on_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(font, "find_font", lambda: None)
    font.ensure_font()
    assert "apt-get install fonts-dejavu-core" in capsys.readouterr().out


def test_where_apt_cannot_give_the_font_set_up_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(packages: list[str]) -> None:
        raise SetupError(f"no {packages[0]}")

    monkeypatch.setattr(font, "find_font", lambda: None)
    monkeypatch.setattr(debian, "can_install", lambda: True)
    monkeypatch.setattr(debian, "install", fail)
    font.ensure_font()
    assert "PNG" in capsys.readouterr().out


def test_the_font_is_found_wherever_below_the_folders_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "truetype" / "dejavu" / "DejaVuSans.ttf"
    assert find_font((tmp_path,)) is None
    file.parent.mkdir(parents=True)
    file.touch()
    assert find_font((tmp_path / "gone", tmp_path)) == file


@pytest.mark.parametrize(("kind", "smaller"), list(itertools.pairwise(reversed(LOCKS))))
def test_each_lock_holds_all_of_the_one_before_it_at_the_same_versions(kind: str, smaller: str) -> None:
    held = locked(kind)
    assert {name: held.get(name) for name in locked(smaller)} == locked(smaller)


def test_neither_the_image_nor_a_run_gets_what_only_deploying_needs() -> None:
    assert "httpx" in locked("deploy")
    assert not {"httpx", "httpcore", "pyyaml"} & set(locked("runtime"))


@pytest.mark.parametrize("kind", LOCKS)
def test_no_lock_names_a_registry(kind: str) -> None:
    assert "://" not in (ROOT / LOCKS[kind]).read_text()


def test_one_package_is_cut_out_of_a_lock_with_its_hashes() -> None:
    text = (ROOT / LOCKS["dev"]).read_text()
    requirement = locked_requirement(text, "uv") or ""
    assert requirement.startswith("uv==")
    assert "--hash=sha256:" in requirement
    assert requirement.count("==") == 1
    assert locked_requirement(text, "no-such-package") is None


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "ops" / "setup_machine").glob("*.py")), ROOT / "shared" / "treeshap" / "build.py"],
    ids=lambda path: path.name,
)
def test_the_set_up_is_written_in_the_language_of_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_bare_make_lists_every_target_with_a_line_of_help() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "demo", "test", "lint", "lock", "models", "clean"):
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), listed


def test_kernels_are_built_where_a_compiler_is_and_their_absence_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels, "is_current", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    kernels.ensure_kernels()
    assert "works with XGBoost's engine" in capsys.readouterr().out
    program(tmp_path, "cc", "echo 'cc: error: no input' >&2; exit 1")
    kernels.ensure_kernels()
    assert "could not be built" in capsys.readouterr().out
