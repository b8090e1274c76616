"""The pages about the client, each run from its first block to its last."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.client.conftest import in_thread

#: A block: its language, and its text.
BLOCK = re.compile(r"^```(python|text|sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Where a page's reader has the appliance.
URL = "http://127.0.0.1:10000"


@pytest.mark.parametrize("page", ["README.md", "client/README.md", "docs/client.md"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the README's reader does not close the key's file
def test_every_block_of_a_page_does_what_it_says(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "keys").symlink_to(appliance.data_dir / "keys")
    command = tmp_path / "shapbox"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m shapbox "$@"\n')
    command.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SHAPBOX_URL", appliance.url)
    monkeypatch.setenv("SHAPBOX_API_KEY", appliance.api_key)
    mpl.use("agg")
    names: dict[str, Any] = {}
    printed = ""
    blocks = BLOCK.findall((ROOT / page).read_text())
    assert blocks
    for language, text in blocks:
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                code = compile(text.replace(URL, appliance.url), page, "exec")
                in_thread(functools.partial(exec, code, names))
            printed = output.getvalue()
        elif language == "sh":
            ran = ["/bin/sh", "-ec", text.replace(URL, appliance.url)]
            printed = subprocess.run(ran, check=True, capture_output=True, text=True).stdout
        elif language == "json":
            check_same(json.loads(printed), json.loads(text))
        else:
            assert printed == text
    plt.close("all")
    assert names["explanation"].model == "diabetes@1"


def check_same(found: dict[str, Any], shown: dict[str, Any]) -> None:
    """Compare an answer with the one that a page shows, whose numbers are rounded."""
    assert found.keys() == shown.keys()
    for name, value in shown.items():
        if name in {"values", "base_values", "predictions"}:
            np.testing.assert_allclose(found[name], value, atol=2e-5)
        elif name != "job":  # a busy appliance may have made one
            assert found[name] == value
