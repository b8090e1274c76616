"""Reads a model's features from its file: names, kinds, labels. Refuses ambiguous files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from shared.errors import ModelFaultError
from shared.models.contract import Feature, Kind, Label

#: XGBoost's names for a feature's type.
_KINDS = {
    "c": Kind.CATEGORY,
    "i": Kind.BOOLEAN,
    "int": Kind.NUMBER,
    "float": Kind.NUMBER,
    "q": Kind.NUMBER,
    "quantitative": Kind.NUMBER,
}
#: Features at most. A damaged file may say that it has billions.
MAX_FEATURES = 1_000_000
#: How many names or labels a message lists.
_SHOWN = 5


def features_of(learner: dict[str, Any], file: str) -> tuple[Feature, ...]:
    """Return the features that the file's `learner` describes; f0, f1, … where it has no names.

    Raises ModelFaultError, naming `file`, for names, types or labels that do not fit the model or say two things.
    """
    count = int(learner["learner_model_param"]["num_feature"])
    if count > MAX_FEATURES:
        raise ModelFaultError(
            f"{file} says that it has {count} features. At most {MAX_FEATURES} can be served"
        )
    given = [str(name) for name in learner.get("feature_names", [])]
    types = [str(kind) for kind in learner.get("feature_types", [])]
    if given and len(given) != count:
        raise ModelFaultError(
            f"{file} has {count} features and {len(given)} feature names ({shown(given)}). XGBoost does not check this. "
            "Set booster.feature_names to one name for each feature (None for no names), and save the model again"
        )
    if types and len(types) != count:
        raise ModelFaultError(
            f"{file} has {count} features and {len(types)} feature types ({shown(types)}). Set "
            "booster.feature_types to one type for each feature, and save the model again"
        )
    names = given or [f"f{index}" for index in range(count)]
    _check_names(names, file)
    kinds = [_kind(name, kind, file) for name, kind in zip(names, types or ["float"] * count, strict=True)]
    labels = _labels_by_feature(learner, names, file)
    # Types may be missing or wrong; what has labels or is split by categories is a category all the same.
    for index in {*labels, *_split_by_categories(learner)}:
        kinds[index] = Kind.CATEGORY
    return tuple(
        Feature(name, kind, labels.get(index, ()) if kind is Kind.CATEGORY else ())
        for index, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )


def shown(values: Sequence[Any], most: int = _SHOWN) -> str:
    """List the first values as Python writes them, so that blanks and tabs can be seen."""
    return ", ".join(map(repr, values[:most])) + (
        f" and {len(values) - most} more" if len(values) > most else ""
    )


def repeated(values: Iterable[Any]) -> list[Any]:
    """Return the values that stand there more than once, each once."""
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return [value for value, count in counts.items() if count > 1]


def _check_names(names: Sequence[str], file: str) -> None:
    if twice := repeated(names):
        raise ModelFaultError(
            f"{file} has feature names more than once: {shown(twice)}. Give each feature its own name in "
            "booster.feature_names, and save the model again"
        )
    if empty := [index for index, name in enumerate(names) if not name]:
        raise ModelFaultError(
            f"{file} names feature {empty[0]} '' (counted from 0). Give it a name in booster.feature_names, and save the model again"
        )


def _kind(name: str, kind: str, file: str) -> Kind:
    if kind not in _KINDS:
        raise ModelFaultError(
            f"{file} says that feature {name!r} is of type {kind!r}, which is not known here. Known types: {', '.join(_KINDS)}"
        )
    return _KINDS[kind]


def _split_by_categories(learner: dict[str, Any]) -> set[int]:
    """Return the positions of features on which some tree has a categorical split."""
    booster = learner["gradient_booster"]
    model = booster.get("gbtree", booster).get("model", {})
    found: set[int] = set()
    for tree in model.get("trees", []):
        categorical = np.flatnonzero(np.asarray(tree.get("split_type", ())))
        found |= set(np.asarray(tree["split_indices"])[categorical].tolist())
    return found


def _labels_by_feature(
    learner: dict[str, Any], names: Sequence[str], file: str
) -> dict[int, tuple[Label, ...]]:
    """Return the labels of each feature that has any, in code order, by its position."""
    booster = learner["gradient_booster"]
    model = booster.get("model") or booster.get("gbtree", {}).get("model", {})
    encodings = model.get("cats", {}).get("enc", [])
    labels = (
        {
            index: _decoded(encoding, f"{file}: feature {name!r}")
            for index, (name, encoding) in enumerate(zip(names, encodings, strict=bool(encodings)))
        }
        if len(encodings)
        else {}
    )
    for index, one in labels.items():
        if twice := repeated(one):
            raise ModelFaultError(f"{file} has labels of {names[index]!r} more than once: {shown(twice)}")
    return {index: one for index, one in labels.items() if one}


def _decoded(encoding: dict[str, Any], where: str) -> tuple[Label, ...]:
    values = np.asarray(encoding["values"])
    if "offsets" not in encoding:
        if values.size and values.dtype.kind not in "iu":
            raise ModelFaultError(f"{where} has labels that are neither texts nor whole numbers")
        return tuple(int(value) for value in values)
    offsets = [int(offset) for offset in encoding["offsets"]]
    texts = values.astype(np.uint8).tobytes()
    try:
        return tuple(texts[begin:end].decode() for begin, end in itertools.pairwise(offsets))
    except UnicodeDecodeError as error:
        raise ModelFaultError(f"{where} has labels that are not UTF-8") from error
