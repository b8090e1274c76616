"""A short soak of the supervised whole, and proof that it sees what is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ops.lab.rows import Mixture
from ops.lab.soak.__main__ import conclude, main
from ops.lab.soak.run import soak
from tests.support.faults.placing import STARTUP

#: Small jobs without shap's memory, and a limit that some dozens of leaking batches reach and sound ones do not.
SMALL = Mixture(((2, 50, 1),))
LIMIT = {"WORKER_MEMORY_LIMIT_MB": "60"}


def test_a_short_soak_passes_and_leaves_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak", "--report", str(tmp_path)])
    monkeypatch.setenv("SOAK_MINUTES", "0.25")
    assert main() == 0, capsys.readouterr()
    text = (tmp_path / "soak.md").read_text()
    assert {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")} == {
        *("MB", "api", "monitor", "redis", "supervisord", "worker-1", "worker-2", "working set")
    }
    assert "Passed." in text
    assert " 0 single rows" not in text
    assert (tmp_path / "soak.svg").read_text().endswith("</svg>\n")
    assert len((tmp_path / "soak.csv").read_text().splitlines()) > 20


def test_a_soak_sees_wrong_values_and_a_leak_of_one_mb_per_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{STARTUP}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("SHAPBOX_TEST_WRONG_VALUES", "wine=swap")
    monkeypatch.setenv("SHAPBOX_TEST_LEAK_MB", "1")
    done = soak(0.6, SMALL, LIMIT)
    assert conclude(done, tmp_path) == 1
    text = (tmp_path / "soak.md").read_text()
    assert "something leaks" in text, text
    assert "wrong: " in text, text


def test_a_soak_without_a_sensible_length_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak"])
    monkeypatch.setenv("SOAK_MINUTES", "-1")
    with pytest.raises(SystemExit):
        main()
    assert "SOAK_MINUTES" in capsys.readouterr().err
