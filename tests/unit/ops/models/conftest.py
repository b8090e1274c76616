from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ops.models.command import run
from tests.unit.ops.models.training import saved, trained


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path / "trained.json", trained(["a", "b", "c d"]))


@pytest.fixture
def do(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must succeed, and return what it prints."""

    def done(*arguments: object) -> str:
        code = run([str(argument) for argument in arguments], models_dir)
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        return said.out

    return done


@pytest.fixture
def refuse(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; return its message; nothing may be written."""

    def refused(*arguments: object) -> str:
        there = sorted(models_dir.rglob("*"))
        assert run([str(argument) for argument in arguments], models_dir) == 1
        assert sorted(models_dir.rglob("*")) == there
        said = capsys.readouterr().err
        assert said.endswith((".\n", "`\n"))
        assert "manifest.json" not in said
        assert "/tmp/shapbox-" not in said
        return said

    return refused
