"""Clients generated from the OpenAPI document, against a real appliance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from ops.lab.trial_appliance import Appliance
from ops.openapi import TARGET
from tests.clients.tools import HERE, node_tools, python_tools, run

PROGRAMS = HERE / "programs"
#: The same row as in the programs.
BODY = json.dumps({"model": "diabetes", "rows": [[47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, None]]}).encode()


def check(appliance: Appliance, printed: str) -> None:
    """Assert that a client got what a plain call gets, and that it adds up."""
    result = json.loads(printed.splitlines()[-1])
    plain = appliance.call("POST", "/v1/explain", BODY, headers={"Content-Type": "application/json"}).json()
    assert {**result, "job": None} == {**plain, "job": None}
    sums = np.array(result["base_values"]) + np.array(result["values"]).sum(axis=1)
    np.testing.assert_allclose(sums, result["predictions"], rtol=1e-5)


def test_the_client_of_openapi_python_client_explains_a_row(appliance: Appliance, tmp_path: Path) -> None:
    programs, client = python_tools(), tmp_path / "client"
    path = f"{programs}:/usr/bin:/bin"  # it lays out what it writes with the ruff beside it
    generate = (programs / "openapi-python-client", "generate", "--path", TARGET, "--output-path", client)
    run(*generate, folder=tmp_path, PATH=path)
    explain = (programs / "python", PROGRAMS / "explain.py", appliance.url, appliance.api_key)
    check(appliance, run(*explain, folder=tmp_path, PYTHONPATH=str(client)))


def test_a_program_with_the_types_of_openapi_typescript_explains_a_row(
    appliance: Appliance, tmp_path: Path
) -> None:
    tools = node_tools()
    (tmp_path / "node_modules").symlink_to(tools / "node_modules")
    shutil.copy(tools / "package.json", tmp_path)
    shutil.copy(PROGRAMS / "explain.ts", tmp_path)
    programs = tools / "node_modules" / ".bin"
    run(programs / "openapi-typescript", TARGET, "-o", "api.ts", folder=tmp_path)
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
    run(programs / "tsc", *options, "--exactOptionalPropertyTypes", "explain.ts", folder=tmp_path)
    check(appliance, run("node", "explain.js", folder=tmp_path, URL=appliance.url, KEY=appliance.api_key))


def test_schemathesis_finds_no_fault(appliance: Appliance, tmp_path: Path) -> None:
    """All checks, with valid and invalid data, by operation and in sequences."""
    printed = run(
        *(python_tools() / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run", "--no-color"),
        *(f"{appliance.url}/openapi.json", "--header", f"Authorization: Bearer {appliance.admin_key}"),
        folder=tmp_path,
        seconds=1800,
        PYTHONPATH=str(HERE.parents[1]),
    )
    assert "21 selected / 21 total" in printed
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in printed.replace("  ", " "), printed
