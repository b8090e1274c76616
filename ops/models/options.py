# ruff: noqa: RUF009  # a function makes the fields with what argparse needs
"""The options of `add`: the file, and choices that the file leaves open."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from shared.errors import ModelFaultError

#: Rows that are kept at most: of --background unless an option says otherwise, of --examples, and of --check.
MAX_BACKGROUND_ROWS, MAX_EXAMPLE_ROWS, MAX_EXPECTED_ROWS = 1_000, 100, 200
_ROWS = (
    "rows as .csv (header, labels of categories), .json, .ndjson or .npy (the model's column order, codes)"
)
_TREES = "boosting rounds that count; default: best if the file has best_iteration, else all"
_MISSING = (
    "a number that means 'missing', besides NaN; may be repeated. none: only NaN does, regardless of the file"
)
_CHECK = "compare with your own model.predict(rows, output_margin=True), as .npy or .csv"

#: Which boosting rounds count: `best` are those up to best_iteration.
type TreesChoice = Literal["best", "all"] | int


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 999_999_999):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _trees(text: str) -> TreesChoice:
    return "best" if text == "best" else "all" if text == "all" else _whole(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _number(text: str) -> float:
    """Read a number; `none` is NaN, which needs no option."""
    if text == "none":
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        what = "is not a finite number. NaN always means 'missing', and rows cannot hold infinity"
        raise argparse.ArgumentTypeError(f"{text!r} {what}")
    return number


def _option(metavar: str | tuple[str, ...], kind: Callable[[str], Any], text: str, **more: Any) -> Any:
    return field(default=None, metadata={"metavar": metavar, "type": kind, "help": text, **more})


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """One model to import. None means the default: next version, the file's word, usual rows.

    `missing` is empty if only NaN means "missing", even if the file says otherwise.
    """

    name: str
    file: Path
    version: int | None = _option("N", _whole, "default: the next one")
    trees: TreesChoice | None = _option("best|all|N", _trees, _TREES)
    missing: Sequence[float] | None = _option("NUMBER|none", _number, _MISSING, action="append")
    outputs: tuple[str, ...] | None = _option("A,B,…", _names, "names of the model's outputs")
    labels: Path | None = _option("FILE", Path, 'JSON: {"feature": ["label of code 0", …]}')
    contract: Path | None = _option("FILE", Path, "JSON: groups, reasons, never_reasons, adverse")
    background: Path | None = _option("FILE", Path, f"for interventional values: {_ROWS}")
    background_rows: int | None = _option("N", _whole, f"evenly spaced rows to keep ({MAX_BACKGROUND_ROWS})")
    examples: Path | None = _option("FILE", Path, f"to try the model with: {_ROWS}")
    check: Sequence[Path] | None = _option(("ROWS", "EXPECTED"), Path, _CHECK, nargs=2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `add`."""
    parser.add_argument("name", metavar="NAME", help="its name: a-z, 0-9, '.', '_' and '-'")
    parser.add_argument("file", metavar="FILE", type=Path, help="the model as XGBoost's save_model writes it")
    for one in fields(ImportOptions)[2:]:
        parser.add_argument(f"--{one.name.replace('_', '-')}", **one.metadata)
    parser.add_argument("--dry-run", action="store_true", help="say what would be added, and write nothing")


def read_arguments(parsed: argparse.Namespace) -> ImportOptions:
    """Take the options of `add` from arguments. Raises ModelFaultError if two contradict."""
    options = ImportOptions(**{one.name: getattr(parsed, one.name) for one in fields(ImportOptions)})
    if options.background_rows and not options.background:
        raise ModelFaultError("--background-rows says how many rows to keep. Give --background FILE too.")
    if options.missing is None:
        return options
    numbers = [one for one in options.missing if not math.isnan(one)]
    if 0 < len(numbers) < len(options.missing):
        raise ModelFaultError("--missing none contradicts --missing NUMBER. Give one or the other.")
    return replace(options, missing=tuple(dict.fromkeys(numbers)))


def read_object(path: Path, option: str) -> dict[str, Any]:
    """Read an option's file with one JSON object; raises ModelFaultError, which names both."""
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise ModelFaultError(f"{option} {path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise ModelFaultError(f"{option} {path} is not valid JSON: {error}. Give a JSON object.") from error
    if not isinstance(document, dict):
        raise ModelFaultError(f"{option} {path} is not a JSON object: it begins with {str(document)[:20]!r}.")
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key appears twice among {', '.join(map(repr, found))}")
    return found
