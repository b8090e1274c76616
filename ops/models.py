"""The models tool: `python -m ops.models list | verify | add NAME FILE [options]`.

It works on the folder that MODELS_DIR names, or on `models`. It ends with 0 if all is well, with 1 if a model
is at fault or was refused, and with 2 if it was called wrongly.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ops.model_intake import Intake, add_model
from services.worker.model_inspection import find_model_faults
from shared.errors import ModelFaultError
from shared.models.catalog import ModelCatalog, ModelFault, find_faults
from shared.models.version import read_version, version_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The exit code that says: a model is at fault, or was refused.
FAULTY = 1


def verify_models(models_dir: Path) -> list[ModelFault]:
    """Check every model: its files byte by byte, then what is whole by loading, predicting and explaining with it.

    Boot uses this too. The loading is done in a process of its own, so a bad model cannot take boot with it.
    """
    faults = find_faults(models_dir)
    faulty = {fault.folder for fault in faults}
    whole = [read_version(folder) for folder in version_folders(models_dir) if folder not in faulty]
    return faults + find_model_faults(whole)


def list_models(models_dir: Path) -> int:
    """Print every model; raises ModelFaultError if a manifest cannot be used."""
    header = ("MODEL", "FEATURES", "OUTPUTS", "OBJECTIVE", "BACKGROUND", "EXAMPLES", "SHA256")
    rows = []
    for version in ModelCatalog.load(models_dir).versions():
        manifest = version.contract
        matrices = (
            f"{entry.rows} rows" if entry else "-" for entry in (manifest.background, manifest.examples)
        )
        outputs = ", ".join(manifest.outputs[:3]) + (" …" if len(manifest.outputs) > 3 else "")
        rows.append(
            (
                version.id,
                str(len(manifest.features)),
                outputs,
                manifest.objective,
                *matrices,
                manifest.sha256[:12],
            )
        )
    _print_table([header, *rows])
    return 0


def verify(models_dir: Path) -> int:
    """Print every fault with its remedy, or that there is none."""
    faults = verify_models(models_dir)
    for fault in faults:
        print(f"FAULT  {fault.model}: {fault.what}.\n       {fault.remedy}")
    for folder in version_folders(models_dir):
        if folder not in {fault.folder for fault in faults}:
            print(f"ok     {folder.parent.name}@{folder.name}")
    return FAULTY if faults else 0


def add(models_dir: Path, intake: Intake) -> int:
    """Add a model and print what it became; raises ModelFaultError if it is refused."""
    version = add_model(models_dir, intake)
    manifest = version.contract
    print(
        f"Added {version.id} in {version.folder}: {len(manifest.features)} features, objective {manifest.objective}."
    )
    if manifest.background is None:
        print(
            "It has no background rows, so method=interventional is refused for it. Add them with --background."
        )
    print("Commit the folder, then restart or deploy the appliance to serve it.")
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _version(text: str) -> int:
    version = int(text)
    if not 1 <= version <= 999_999_999:
        raise argparse.ArgumentTypeError("a version is a whole number from 1")
    return version


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.models", description="The models that Shapbox serves."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="tell what models there are")
    commands.add_parser("verify", help="check every model's files, and load and try every model")
    adding = commands.add_parser("add", help="take in a trained XGBoost model")
    adding.add_argument("name", metavar="NAME", help="its name: a-z, 0-9, '.', '_' and '-'")
    adding.add_argument("file", metavar="FILE", type=Path, help="the model, as .ubj or .json")
    matrix_help = "rows as .npy (model's column order) or .csv (header, any order)"
    adding.add_argument(
        "--background", type=Path, metavar="FILE", help=f"for interventional values: {matrix_help}"
    )
    adding.add_argument("--examples", type=Path, metavar="FILE", help=f"to try the model with: {matrix_help}")
    adding.add_argument("--version", type=_version, metavar="N", help="default: the next one")
    adding.add_argument(
        "--outputs", type=_names, default=(), metavar="A,B,…", help="names of the model's outputs"
    )
    return parser


def run(arguments: Sequence[str], models_dir: Path) -> int:
    """Do what the arguments say, and give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            return list_models(models_dir)
        if options.command == "verify":
            return verify(models_dir)
        matrices = {"background": options.background, "examples": options.examples}
        intake = Intake(
            options.name, options.file, **matrices, version=options.version, outputs=options.outputs
        )
        return add(models_dir, intake)
    except ModelFaultError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"The disk refused: {error}. Check the path, its permissions and the space.", file=sys.stderr)
    return FAULTY


def main() -> int:
    """Run with the process's arguments and environment."""
    return run(sys.argv[1:], Path(os.environ.get("MODELS_DIR") or "models"))


if __name__ == "__main__":
    sys.exit(main())
