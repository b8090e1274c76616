"""Names the codes of categories that a model file knows by code only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ops.models.json_file import read_object
from services.worker.model_features import repeated, shown
from shared.errors import ModelFaultError
from shared.models.contract import Feature, Kind, Label


def with_labels(features: tuple[Feature, ...], path: Path) -> tuple[Feature, ...]:
    """Return the features with the labels of `--labels FILE`; raises ModelFaultError if they do not fit the model.

    A number with labels becomes a category: it was trained on ordinal codes.
    """
    given = read_object(path, "--labels")
    names = [feature.name for feature in features]
    if unknown := [name for name in given if name not in names]:
        raise ModelFaultError(
            f"--labels {path} names {shown(unknown)}, which the model does not have. Its features are {shown(names, 10)}."
        )
    return tuple(
        _labelled(feature, _labels(given[feature.name], feature.name, path), path)
        if feature.name in given
        else feature
        for feature in features
    )


def _labels(values: Any, name: str, path: Path) -> tuple[Label, ...]:
    if not isinstance(values, list) or {type(value) for value in values} not in ({str}, {int}):
        raise ModelFaultError(
            f"--labels {path}: give {name!r} a list of texts or of whole numbers, in code order, such as "
            f'{{"{name}": ["label of code 0", "label of code 1"]}}.'
        )
    if twice := repeated(values):
        raise ModelFaultError(f"--labels {path}: {name!r} has {shown(twice)} more than once.")
    return tuple(values)


def _labelled(feature: Feature, labels: tuple[Label, ...], path: Path) -> Feature:
    if feature.kind is Kind.BOOLEAN:
        raise ModelFaultError(
            f"--labels {path}: {feature.name!r} is a boolean in the model file and takes 1 and 0. Leave it out."
        )
    if feature.labels and feature.labels != labels:
        raise ModelFaultError(
            f"--labels {path}: the model file has other labels of {feature.name!r}. It has {shown(feature.labels, 10)}; --labels has "
            f"{shown(labels, 10)}. Leave {feature.name!r} out of --labels."
        )
    return Feature(feature.name, Kind.CATEGORY, labels)
