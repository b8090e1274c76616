"""Reads the JSON files of options: an object without a key twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.errors import ModelFaultError


def read_object(path: Path, option: str) -> dict[str, Any]:
    """Read a file with one JSON object; raises ModelFaultError, which names option and file."""
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise ModelFaultError(
            f"{option} {path} cannot be read: {error.strerror or error}. Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFaultError(f"{option} {path} is not valid JSON: {error}. Give a JSON object.") from error
    if not isinstance(document, dict):
        raise ModelFaultError(f"{option} {path} is not a JSON object: it begins with {str(document)[:20]!r}.")
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found
