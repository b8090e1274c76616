"""The options of `add`: the file, and choices that the file leaves open."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from shared.errors import ModelFaultError

#: Rows that are kept at most: of --background and --examples unless an option says otherwise, and of --check.
MAX_BACKGROUND_ROWS, MAX_EXAMPLE_ROWS, MAX_EXPECTED_ROWS = 1_000, 100, 200

#: Which boosting rounds count: `best` are those up to best_iteration.
type TreesChoice = Literal["best", "all"] | int


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """One model to import. None means the default: next version, the file's word, usual rows.

    `missing` is empty if only NaN means "missing", even if the file says otherwise.
    """

    name: str
    file: Path
    version: int | None = None
    trees: TreesChoice | None = None
    missing: tuple[float, ...] | None = None
    outputs: tuple[str, ...] = ()
    labels: Path | None = None
    contract: Path | None = None
    background: Path | None = None
    background_rows: int | None = None
    examples: Path | None = None
    examples_rows: int | None = None
    check: Sequence[Path] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `add`."""
    parser.add_argument("name", metavar="NAME", help="its name: a-z, 0-9, '.', '_' and '-'")
    parser.add_argument("file", metavar="FILE", type=Path, help="the model as XGBoost's save_model writes it")
    for flag, metavar, kind, text in _OPTIONS:
        parser.add_argument(flag, metavar=metavar, type=kind, help=text)
    parser.add_argument(
        "--missing",
        type=_numbers,
        action="extend",
        metavar="NUMBER|none",
        help="a number that means 'missing', besides NaN; may be repeated, or several separated by commas; "
        "none: only NaN does, regardless of the file",
    )
    parser.add_argument(
        "--check",
        type=Path,
        nargs=2,
        metavar=("ROWS", "EXPECTED"),
        help="compare with your own model.predict(rows, output_margin=True), as .npy or .csv",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be added, and write nothing")


def read_arguments(parsed: argparse.Namespace) -> ImportOptions:
    """Take the options of `add` from arguments. Raises ModelFaultError if two contradict."""
    given = {one.name: getattr(parsed, one.name) for one in fields(ImportOptions)}
    if given["missing"] is not None:
        numbers = [one for one in given["missing"] if not math.isnan(one)]
        if 0 < len(numbers) < len(given["missing"]):
            raise ModelFaultError("--missing none contradicts --missing NUMBER. Give one or the other.")
        given["missing"] = tuple(dict.fromkeys(numbers))
    return ImportOptions(**{name: value for name, value in given.items() if value is not None})


def joined(arguments: list[str]) -> list[str]:
    """Write `--missing -999,-1` as one argument, so that argparse sees no option in the number."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] == "--missing" and argument[:1] == "-" and argument[:2] != "--":
            found[-1] = f"--missing={argument}"
        else:
            found.append(argument)
    return found


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
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 999_999_999):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _trees(text: str) -> TreesChoice:
    return "best" if text == "best" else "all" if text == "all" else _whole(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> list[float]:
    """Read numbers separated by commas; `none` is NaN, which needs no option."""
    return [math.nan] if text == "none" else [_number(one) for one in text.split(",")]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a finite number. NaN always means 'missing', and rows cannot hold infinity"
        )
    return number


_ROWS = (
    "rows as .csv (header, labels of categories), .json, .ndjson or .npy (the model's column order, codes)"
)
#: The options with one value: flag, placeholder, type, help.
_OPTIONS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--version", "N", _whole, "default: the next one"),
    (
        "--trees",
        "best|all|N",
        _trees,
        "boosting rounds that count; default: best if the file has best_iteration, else all",
    ),
    ("--outputs", "A,B,…", _names, "names of the model's outputs"),
    ("--labels", "FILE", Path, 'JSON: {"feature": ["label of code 0", …]}'),
    ("--contract", "FILE", Path, "JSON: groups, reasons, never_reasons, adverse"),
    ("--background", "FILE", Path, f"for interventional values: {_ROWS}"),
    ("--background-rows", "N", _whole, f"evenly spaced rows to keep; default: {MAX_BACKGROUND_ROWS}"),
    ("--examples", "FILE", Path, f"to try the model with: {_ROWS}"),
    ("--examples-rows", "N", _whole, f"evenly spaced rows to keep; default: {MAX_EXAMPLE_ROWS}"),
)
