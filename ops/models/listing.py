"""Lists the models in a folder: their inputs, outputs, and the outcome of activation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.contract import FileEntry
from shared.models.version import ModelVersion

_HEADER = ("MODEL", "STATE", "FEATURES", "OUTPUTS", "OBJECTIVE", "TREES", "BACKGROUND", "EXAMPLES", "SHA256")
#: Outputs that are named, and characters of a hash.
_OUTPUTS, _HASH = 3, 12


def list_models(models_dir: Path, activations: Activations) -> tuple[str, bool]:
    """Return a table of all models with the reasons of refusals, and whether there is any.

    Raises ModelFaultError with the reasons if none can be served.
    """
    catalog = ModelCatalog.load(models_dir, activations=activations)
    lines = _table([_HEADER, *map(_row, catalog.versions())])
    for version in catalog.versions():
        for name, record in version.activation.methods.items() if version.activation else ():
            if record.engine is None:
                lines.append(f"{version.id} is not explained by {name}: {record.reason}")
    lines += [f"{one.id} is refused: {one.reason}" for one in catalog.refused()]
    return "\n".join(lines), bool(catalog.refused())


def _row(version: ModelVersion) -> tuple[str, ...]:
    contract = version.contract
    outputs = ", ".join(contract.outputs[:_OUTPUTS]) + (" …" if len(contract.outputs) > _OUTPUTS else "")
    trees = contract.trees
    return (
        version.id,
        version.activation.state.value if version.activation else "not activated",
        str(len(contract.features)),
        outputs,
        contract.objective,
        "-" if trees is None or not trees.total else f"{trees.used} of {trees.total}",
        _rows(contract.background),
        _rows(contract.examples),
        contract.sha256[:_HASH],
    )


def _rows(entry: FileEntry | None) -> str:
    return f"{entry.rows} rows" if entry else "-"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
