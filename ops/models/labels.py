"""Names the codes of categories that a model file knows by code only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ops.models.json_file import read_object
from ops.models.source import Source
from ops.models.splits import Splits
from shared.errors import ModelFaultError
from shared.models.activation.features import repeated, shown
from shared.models.contract import Feature, Kind, Label

#: Thresholds that a message lists.
_SHOWN = 5


def with_labels(source: Source, path: Path) -> tuple[Feature, ...]:
    """Return the features with the labels of `--labels FILE`; raises ModelFaultError.

    A number with labels becomes a category: it was trained on ordinal codes.
    """
    features = source.inspection.features
    given = read_object(path, "--labels")
    names = [feature.name for feature in features]
    if unknown := [name for name in given if name not in names]:
        raise ModelFaultError(
            f"--labels {path} names {shown(unknown)}, which the model does not have. Its features are {shown(names, 10)}."
        )
    return tuple(
        _labelled(feature, splits, _labels(given[feature.name], feature.name, path), path)
        if feature.name in given
        else feature
        for feature, splits in zip(features, source.splits, strict=True)
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


def _labelled(feature: Feature, splits: Splits, labels: tuple[Label, ...], path: Path) -> Feature:
    if feature.kind is Kind.BOOLEAN:
        raise ModelFaultError(
            f"--labels {path}: {feature.name!r} is a boolean in the model file and takes 1 and 0. Leave it out."
        )
    if feature.labels and feature.labels != labels:
        raise ModelFaultError(
            f"--labels {path}: the model file has other labels of {feature.name!r}. It has {shown(feature.labels, 10)}; --labels has "
            f"{shown(labels, 10)}. Leave {feature.name!r} out of --labels."
        )
    _check_count(feature, splits, len(labels), path)
    return Feature(feature.name, Kind.CATEGORY, labels)


def _check_count(feature: Feature, splits: Splits, count: int, path: Path) -> None:
    """Refuse labels that cannot be those of the codes that the model's trees split at."""
    what = f"--labels {path}: {feature.name!r} has {count} label{'' if count == 1 else 's'}"
    highest = splits.highest_code
    if highest is not None and highest >= count:
        raise ModelFaultError(
            f"{what}, and the model's trees know at least {highest + 1} codes (0 … {highest}). Give a label for each code, in code order."
        )
    if feature.kind is Kind.NUMBER and (unlike := splits.unlike_codes(count)):
        raise ModelFaultError(
            f"{what}, so its codes would be 0 … {count - 1}, but the model splits it as a number at "
            f"{', '.join(f'{one:.7g}' for one in unlike[:_SHOWN])}{', …' if len(unlike) > _SHOWN else ''}, outside (0, {count - 1}]. "
            f"If it holds codes, give a label for each, in code order; if it is a number, leave it out of --labels."
        )
