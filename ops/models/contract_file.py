"""Adds to a contract what its owner says in a JSON file: groups, reasons, never_reasons and adverse."""

from __future__ import annotations

import json
from pathlib import Path

from ops.models.json_file import read_object
from shared.errors import ModelFaultError
from shared.models.contract import MANIFEST_FILE, Contract, remedy_for
from shared.models.manifest_reader import read_contract

_KEYS = ("groups", "reasons", "never_reasons", "adverse")


def completed(contract: Contract, path: Path | None) -> Contract:
    """Return the contract with what `--contract FILE` says; checks all of it as it will be when it is read again.

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
    """Take the name of the manifest, which was not written, and the remedy for it out of a message."""
    what = str(error).removeprefix(f"{MANIFEST_FILE} cannot be used: ")
    what = what.removesuffix(f". {remedy_for(Path(MANIFEST_FILE).parent)}")
    return (
        f"The contract cannot be used: {what}."
        if path is None
        else f"--contract {path} cannot be used: {what}."
    )
