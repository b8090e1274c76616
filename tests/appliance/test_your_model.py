"""The page "Your model", run from the first block to the last, with its own appliance."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.lab.trial_appliance import Appliance, environment_without_settings
from shared.build import ROOT
from tests.appliance.conftest import MakeAppliance
from tests.support.trained_case import whole_xgboost

PAGE = (ROOT / "docs" / "your-model.md").read_text()
#: A block: its language, and its text.
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Where the page's reader has the appliance, and the command that starts it.
URL, START = "http://127.0.0.1:10000", "make run\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of Shapbox's folder, so that nothing is written into the real one."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    whole_xgboost()  # which the page's reader imports
    import matplotlib as mpl

    backend = mpl.get_backend()
    mpl.use("agg")
    yield tmp_path
    mpl.use(backend)


class Reader:
    """Does what the page says, block by block."""

    def __init__(self, home: Path, appliance: Appliance) -> None:
        self._home = home
        self._appliance = appliance
        self._names: dict[str, Any] = {}
        self.printed = ""

    def follow(self, language: str, text: str) -> None:
        text = text.replace(URL, self._appliance.url)
        match language:
            case "python":
                exec(compile(text, "docs/your-model.md", "exec"), self._names)
            case "text":
                assert numberless(text) == numberless(self.printed)
            case "sh" if text == START:
                self._appliance.start()
            case "sh":
                self.printed = self._shell(text)
            case _:
                raise AssertionError(f"nobody knows what to do with a block of {language}")

    def _shell(self, text: str) -> str:
        settings = {"MODELS_DIR": "models", "DATA_DIR": ".data", "PYTHONPATH": str(ROOT)}
        environment, command = environment_without_settings() | settings, ["/bin/sh", "-ec", text]
        done = subprocess.run(
            command, cwd=self._home, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def numberless(text: str) -> str:
    """Leave the figures out: another processor may find another best round."""
    return re.sub(r"\d+(\.\d+)?(e-\d+)?", "#", text)


def test_the_page_leads_from_fit_to_a_waterfall(home: Path, make_appliance: MakeAppliance) -> None:
    from matplotlib import image

    blocks = BLOCK.findall(PAGE)
    assert PAGE.count("```") == 2 * len(blocks)  # each has a language, so each is followed
    reader = Reader(home, make_appliance(DATA_DIR=str(home / ".data"), MODELS_DIR=str(home / "models")))
    for language, text in blocks:
        reader.follow(language, text)

    assert re.search(r"loans@1\s+ready", reader.printed), reader.printed
    for name in ("waterfall.png", "waterfall-by-shap.png"):
        picture = image.imread(io.BytesIO((home / name).read_bytes()), format="png")
        assert min(picture.shape[:2]) > 100
        assert np.ptp(picture[..., :3]) > 0.5
