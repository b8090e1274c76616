"""Reads a model file for import: its own facts, and the model as UBJSON with all rounds."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ops.models.file_kinds import describe_failure, describe_foreign, plain_bytes, unpack
from shared.errors import ModelFaultError
from shared.models.activation.inspection import ModelInspection, convert_model
from shared.ubjson import read_ubjson

#: How far XGBoost puts a threshold beyond all values, to part those that are there from those that are missing.
_BEYOND = 1e-4


@dataclass(slots=True)
class Splits:
    """The splits of one feature: the category codes in them, and all thresholds."""

    codes: set[int] = field(default_factory=set)
    thresholds: set[float] = field(default_factory=set)

    @property
    def highest_code(self) -> int | None:
        """The highest code of a category that a tree splits at, if any does."""
        return max(self.codes, default=None)

    def unlike_codes(self, count: int) -> list[float]:
        """Return the thresholds that a feature of codes 0 … count - 1 would not have."""
        return sorted(
            one for one in self.thresholds if not (0 < one <= count - 1 or _parts_missing(one, count))
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A model file. `sha256` is of the file as given, `model` is UBJSON, `splits` by feature."""

    file: Path
    sha256: str
    inspection: ModelInspection
    model: bytes = field(repr=False)
    splits: tuple[Splits, ...] = field(repr=False)


def read_source(file: Path) -> Source:
    """Read a model file with any suffix. Raises ModelFaultError, which says what the file is."""
    try:
        given = file.read_bytes()
    except OSError as error:
        remedy = "Give the path of the model's file itself."
        raise ModelFaultError(f"{file} cannot be read: {error.strerror}. {remedy}") from error
    unpacked = unpack(given)
    content = plain_bytes(given if unpacked is None else unpacked)
    if foreign := describe_foreign(content, str(file), compressed=unpacked is not None):
        raise ModelFaultError(foreign)
    with tempfile.TemporaryDirectory(prefix="shapbox-import-") as scratch:
        plain, converted = Path(scratch) / file.name, Path(scratch) / "converted" / "model.ubj"
        converted.parent.mkdir()
        plain.write_bytes(content)
        try:
            inspection = convert_model(plain, converted)
        except ModelFaultError as error:
            raise ModelFaultError(_why(str(error), content, file)) from error
        model = converted.read_bytes()
    splits = _splits_of(model, len(inspection.features))
    return Source(file, hashlib.sha256(given).hexdigest(), inspection, model, splits)


def _why(said: str, content: bytes, file: Path) -> str:
    """Say why a model is refused: XGBoost cannot load it, or the loaded model cannot be served."""
    if refusal := re.search(r"cannot be loaded(?: by XGBoost \S+)?: ", said):
        return describe_failure(content, str(file), said[refusal.end() :].rstrip("."))
    return said.replace(file.name, str(file), 1) if said.startswith(file.name) else said


def _splits_of(model: bytes, features: int) -> tuple[Splits, ...]:
    """Return where each feature is split in a model that XGBoost itself wrote as UBJSON."""
    booster = read_ubjson(model)["learner"]["gradient_booster"]
    found = tuple(Splits() for _ in range(features))
    trees = booster.get("gbtree", booster)["model"].get("trees", ())  # a linear model has none
    for tree in trees:
        feature = [int(index) for index in tree["split_indices"]]
        categorical = [int(node) for node in tree.get("categories_nodes", ())]
        for node, begin, size in zip(
            categorical, tree.get("categories_segments", ()), tree.get("categories_sizes", ()), strict=True
        ):
            found[feature[node]].codes.update(map(int, tree["categories"][begin : begin + size]))
        inner = np.flatnonzero(np.asarray(tree["left_children"]) >= 0)
        conditions = np.asarray(tree["split_conditions"], np.float32)
        for node in np.setdiff1d(inner, np.array(categorical, np.intp)).tolist():
            found[feature[node]].thresholds.add(float(conditions[node]))
    return found


def _parts_missing(threshold: float, count: int) -> bool:
    """Whether a threshold has all codes on one side: twice the highest value, or just below 0."""
    twice = threshold - 2 * round(threshold / 2)
    return -_BEYOND <= threshold < 0 or (0 < twice <= _BEYOND and threshold / 2 <= count - 1 + _BEYOND)
