"""The options of an import: the file, and choices that the file leaves open."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import ModelFaultError

#: Background rows that are kept at most unless --background-rows says otherwise.
MAX_BACKGROUND_ROWS = 1_000
#: Example rows that are kept at most unless --examples-rows says otherwise.
MAX_EXAMPLE_ROWS = 100
#: Rows of --check that are kept at most.
MAX_EXPECTED_ROWS = 200

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
    check: tuple[Path, Path] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `add`."""
    rows = "rows as .csv (header, labels of categories), .json, .ndjson or .npy (the model's column order, codes)"
    parser.add_argument("name", metavar="NAME", help="its name: a-z, 0-9, '.', '_' and '-'")
    parser.add_argument("file", metavar="FILE", type=Path, help="the model as XGBoost's save_model writes it")
    parser.add_argument("--version", type=_version, metavar="N", help="default: the next one")
    parser.add_argument(
        "--trees",
        type=_trees,
        metavar="best|all|N",
        help="boosting rounds that count; default: best if the file has best_iteration, else all",
    )
    parser.add_argument(
        "--missing",
        type=_numbers,
        action="append",
        metavar="NUMBER|none",
        help="a number that means 'missing', besides NaN; may be repeated, or several separated by commas; none: only NaN does, "
        "regardless of the file",
    )
    parser.add_argument(
        "--outputs", type=_names, default=(), metavar="A,B,…", help="names of the model's outputs"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help='JSON: {"feature": ["label of code 0", …]}'
    )
    parser.add_argument(
        "--contract", type=Path, metavar="FILE", help="JSON: groups, reasons, never_reasons, adverse"
    )
    parser.add_argument("--background", type=Path, metavar="FILE", help=f"for interventional values: {rows}")
    parser.add_argument(
        "--background-rows",
        type=_count,
        metavar="N",
        help=f"background rows kept, evenly spaced; default: up to {MAX_BACKGROUND_ROWS}",
    )
    parser.add_argument("--examples", type=Path, metavar="FILE", help=f"to try the model with: {rows}")
    parser.add_argument(
        "--examples-rows",
        type=_count,
        metavar="N",
        help=f"example rows kept, evenly spaced; default: up to {MAX_EXAMPLE_ROWS}",
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
    """Take the options of `add` from parsed arguments."""
    return ImportOptions(
        name=parsed.name,
        file=parsed.file,
        version=parsed.version,
        trees=parsed.trees,
        missing=None if parsed.missing is None else _markers(parsed.missing),
        outputs=parsed.outputs,
        labels=parsed.labels,
        contract=parsed.contract,
        background=parsed.background,
        background_rows=parsed.background_rows,
        examples=parsed.examples,
        examples_rows=parsed.examples_rows,
        check=None if parsed.check is None else (parsed.check[0], parsed.check[1]),
    )


def joined(arguments: list[str]) -> list[str]:
    """Write `--missing -999,-1` as one argument, so that argparse sees no option in the number."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] == "--missing" and argument[:1] == "-" and argument[:2] != "--":
            found[-1] = f"--missing={argument}"
        else:
            found.append(argument)
    return found


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 999_999_999):
        raise argparse.ArgumentTypeError("a version is a whole number from 1")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError("a number of rows is a whole number from 1")
    return int(text)


def _trees(text: str) -> TreesChoice:
    if text == "best":
        return "best"
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError("give best, all, or a number of boosting rounds from 1")
    return int(text)


def _markers(given: list[tuple[float, ...]]) -> tuple[float, ...]:
    """Join what each --missing says; `none` is empty, and stands alone."""
    if any(given) and not all(given):
        raise ModelFaultError(
            "--missing none says that only NaN means 'missing', and another --missing names a number. Give one or the other."
        )
    return tuple(dict.fromkeys(one for some in given for one in some))


def _numbers(text: str) -> tuple[float, ...]:
    return () if text == "none" else tuple(map(_number, text.split(",")))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if math.isnan(number):
        raise argparse.ArgumentTypeError("NaN always means 'missing': leave it out")
    if math.isinf(number):
        raise argparse.ArgumentTypeError("infinity cannot be sent in rows: use a finite number, or NaN")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
