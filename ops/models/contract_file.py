"""Adds the owner's JSON file to a contract: groups, reasons, never_reasons and adverse."""

from __future__ import annotations

import json
from pathlib import Path

from ops.models.json_file import read_object
from shared.errors import ModelFaultError
from shared.models.contract import MANIFEST_FILE, Contract, remedy_for
from shared.models.manifest_reader import read_contract

_KEYS = ("groups", "reasons", "never_reasons", "adverse")


def completed(contract: Contract, path: Path | None) -> Contract:
    """Return the contract with the content of `--contract FILE`, checked as a whole.

    Raises ModelFaultError, which names the file if it is at fault.
    """
    given = {} if path is None else read_object(path, "--contract")
    if unknown := [key for key in given if key not in _KEYS]:
        raise ModelFaultError(
            f"--contract {path} has the unknown key {unknown[0]!r}. Known keys: {', '.join(_KEYS)}."
        )
    try:
        document = json.dumps({**contract.document(), **given}, ensure_ascii=False, allow_nan=False)
        return read_contract(document.encode())
    except ValueError as error:
        raise ModelFaultError(f"--contract {path} cannot be used: {error}.") from error
    except ModelFaultError as error:
        raise ModelFaultError(_without_manifest(error, path)) from error


def _without_manifest(error: ModelFaultError, path: Path | None) -> str:
    """Take the manifest's name and remedy out of a message: it was not written yet."""
    what = str(error).removeprefix(f"{MANIFEST_FILE} cannot be used: ")
    what = what.removesuffix(f". {remedy_for(Path(MANIFEST_FILE).parent)}")
    return (
        f"The contract cannot be used: {what}."
        if path is None
        else f"--contract {path} cannot be used: {what}."
    )
