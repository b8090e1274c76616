"""The command line: `python -m ops.models add | inspect | remove | list | verify`.

It works on the folder that MODELS_DIR names, or on `models`. The exit code is 0 if all is well, 1 if a model is at fault
or was refused, and 2 if the command was called wrongly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ops.models.contract import settle_contract
from ops.models.folder import list_models, remove_model, verify_models
from ops.models.importing import prepare_import
from ops.models.options import ImportOptions, add_arguments, read_arguments
from ops.models.printed import describe_file, describe_import
from ops.models.source import read_source
from shared.errors import ModelFaultError
from shared.models.activation.records import Activations, State
from shared.models.store import write_model_folder
from shared.settings import Settings

#: The exit code that says: a model is at fault, or was refused.
FAULTY = 1


def main() -> int:
    """Run with the process's arguments and environment."""
    defaults = Settings()
    models_dir = Path(os.environ.get("MODELS_DIR") or defaults.models_dir)
    return run(sys.argv[1:], models_dir, Path(os.environ.get("DATA_DIR") or defaults.data_dir))


def run(arguments: Sequence[str], models_dir: Path, data_dir: Path | None = None) -> int:
    """Do what the arguments say; return the exit code. DATA_DIR has activation records, if any."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "add":
                return _add(models_dir, read_arguments(options), dry_run=options.dry_run)
            case "inspect":
                source = read_source(options.file)
                contract = settle_contract(ImportOptions("x", options.file), 1, source)
                print(f"{options.file}\n{describe_file(contract, source)}")
                return 0
            case "remove":
                print(remove_model(models_dir, options.model))
                return 0
            case "list":
                return _list(models_dir, data_dir)
            case _:
                return _verify(models_dir)
    except ModelFaultError as error:
        print(error if str(error).endswith((".", "`")) else f"{error}.", file=sys.stderr)
    except OSError as error:
        print(f"The disk refused: {error}. Check the path, its permissions and the space.", file=sys.stderr)
    return FAULTY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.models", description="The models that Shapbox serves."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_arguments(commands.add_parser("add", help="import a trained XGBoost model"))
    inspecting = commands.add_parser("inspect", help="show what a model file says of itself")
    inspecting.add_argument("file", metavar="FILE", type=Path)
    removing = commands.add_parser("remove", help="remove a version of a model")
    removing.add_argument("model", metavar="NAME@VERSION")
    commands.add_parser("list", help="list the models, and why any is refused")
    commands.add_parser("verify", help="check every model's files, and activate every model on trial")
    return parser


def _add(models_dir: Path, options: ImportOptions, *, dry_run: bool) -> int:
    prepared = prepare_import(models_dir, options)
    print(describe_import(prepared))
    if prepared.same is not None:
        print(f"{prepared.same.id} is the same model; nothing was added.")
    elif dry_run:
        print(f"Dry run: nothing was written. Without --dry-run this adds {prepared.draft.contract.id}.")
    else:
        version = write_model_folder(models_dir, prepared.draft, replace=True)
        print(f"Added {version.id} in {version.folder}. Restart or deploy the appliance to serve it.")
    return 0


def _list(models_dir: Path, data_dir: Path | None) -> int:
    recorded = None if data_dir is None else replace(Settings(), data_dir=data_dir).activations_file
    table, refused = list_models(models_dir, Activations.read(recorded) if recorded else Activations())
    print(table)
    return FAULTY if refused else 0


def _verify(models_dir: Path) -> int:
    faults, records = verify_models(models_dir)
    for fault in faults:
        print(f"FAULT  {fault.model}: {fault.what}.\n       {fault.remedy}")
    for folder, record in records.items():
        if record.state is State.READY:
            print(f"ok     {folder.parent.name}@{folder.name}")
            for name, one in record.methods.items():
                if one.engine is None:
                    print(f"       {name} is refused: {one.reason}.")
    return FAULTY if faults else 0
