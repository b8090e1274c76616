"""The demo on an appliance of its own, and on one that is broken; see also test_verify.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.lab import trial_appliance
from ops.lab.demo import main
from ops.lab.trial_appliance import free_ports
from tests.support.faults.placing import startup_path


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, metrics_port = free_ports()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setenv("METRICS_PORT", str(metrics_port))


def test_the_demo_boots_an_appliance_and_saves_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "values.csv"
    assert main(["--model", "wine", "--rows", "700", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "starting an appliance for the length of the demo" in said
    assert "Features by mean |SHAP|" in said
    assert len(output.read_text().splitlines()) == 1 + 3 * 700


def test_the_demo_fails_when_a_worker_never_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", startup_path())
    monkeypatch.setenv("SHAPBOX_TEST_NO_WORKER", "1")
    monkeypatch.setattr(trial_appliance, "READY_SECONDS", 8.0)
    assert main(["--output", str(tmp_path / "values.csv")]) == 1
    assert "not ready after 8.0 s" in capsys.readouterr().err
    assert not (tmp_path / "values.csv").exists()
