"""Settles a model's contract: what its file says, and what the options say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.models.options import ImportOptions, TreesChoice, read_object
from ops.models.source import Source, Splits
from shared.errors import ModelFaultError
from shared.models.activation.features import repeated, shown
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import (
    NAME_PATTERN,
    Contract,
    Feature,
    Kind,
    Label,
    Trees,
    TreesReason,
    link_of,
    remedy_for,
)
from shared.models.manifest_reader import read_contract

#: The keys of --contract.
OWNER_KEYS = ("groups", "reasons", "never_reasons", "adverse")
#: Stands in a contract until the model's file is written.
_NO_SHA256 = "0" * 64


def settle_contract(options: ImportOptions, version: int, source: Source) -> Contract:
    """Return the contract that a model is added with.

    Raises ModelFaultError if something does not fit.
    """
    seen = source.inspection
    if not NAME_PATTERN.fullmatch(options.name):
        rule = "Use a-z, 0-9, '.', '_' and '-', at most 64 of them, with a letter or a digit first."
        raise ModelFaultError(f"{options.name!r} cannot be a model's name. {rule}")
    contract = Contract(
        name=options.name,
        version=version,
        sha256=_NO_SHA256,
        features=_labelled(source, options.labels) if options.labels else seen.features,
        outputs=_outputs(seen, options.outputs or ()),
        objective=seen.objective,
        library_version=seen.library_version,
        training={
            "added_from": options.file.name,
            "sha256_of_source": source.sha256,
            "booster": seen.booster,
            **({"attributes": dict(seen.attributes)} if seen.attributes else {}),
        },
        link=link_of(seen.objective),
        missing=noted_missing(seen.attributes) if options.missing is None else tuple(options.missing),
        trees=choose_trees(seen, options.trees),
    )
    return _completed(contract, options.contract)


def noted_missing(attributes: Mapping[str, str]) -> tuple[float, ...]:
    """Return the number that means "missing" by the note of XGBoost 1.x's wrappers, if not NaN."""
    try:
        noted = json.loads(attributes.get("scikit_learn", "{}")).get("missing")
    except (ValueError, AttributeError):
        return ()
    number = isinstance(noted, int | float) and not isinstance(noted, bool) and math.isfinite(noted)
    return (float(noted),) if number else ()


def choose_trees(seen: ModelInspection, choice: TreesChoice | None) -> Trees:
    """Return the rounds that count; raises ModelFaultError if choice and file do not fit."""
    total, best, said = seen.rounds, seen.best_iteration, seen.attributes.get("best_iteration")
    fault = ""
    if seen.booster == "gblinear":
        if choice not in {None, "all"}:
            fault = "a linear model (gblinear) has weights instead of trees. Leave --trees out."
    elif isinstance(choice, int):
        if choice <= total:
            return Trees(choice, total, TreesReason.CHOSEN)
        fault = f"the file has {total} rounds."
    elif choice != "all" and best is not None:
        return Trees(best + 1, total, TreesReason.BEST_ITERATION)
    elif choice != "all" and said is not None:
        fault = (
            f"the file's best_iteration is {said!r}, and the file has {total} rounds, so model.predict cannot use it. "
            "Say which rounds count: --trees all, or --trees N."
        )
    elif choice == "best":
        fault = (
            f"the file has no best_iteration, so model.predict uses all {total} rounds. Leave --trees out."
        )
    if fault:
        raise ModelFaultError(f"--trees {choice or 'best'} does not fit: {fault}")
    return Trees(total, total)


def _outputs(seen: ModelInspection, given: tuple[str, ...]) -> tuple[str, ...]:
    if given:
        if len(given) != seen.outputs or len(set(given)) != seen.outputs or not all(given):
            raise ModelFaultError(
                f"--outputs names {', '.join(map(repr, given))}, and the model gives {seen.outputs}. "
                f"Name each of the {seen.outputs} once."
            )
        return given
    kind = "class" if seen.objective.startswith("multi:") else "output"
    return tuple(f"{kind}_{index}" for index in range(seen.outputs)) if seen.outputs > 1 else ("output",)


def _completed(contract: Contract, path: Path | None) -> Contract:
    """Return the contract with the content of `--contract FILE`, checked as a whole."""
    given = read_object(path, "--contract") if path else {}
    if unknown := [key for key in given if key not in OWNER_KEYS]:
        raise ModelFaultError(
            f"--contract {path} has the unknown key {unknown[0]!r}. Known keys: {', '.join(OWNER_KEYS)}."
        )
    named = Path(f"--contract {path}" if path else "The contract")
    try:
        document = json.dumps({**contract.document(), **given}, ensure_ascii=False, allow_nan=False)
        return read_contract(document.encode(), named)
    except ValueError as error:
        raise ModelFaultError(f"{named} cannot be used: {error}.") from error
    except ModelFaultError as error:  # its remedy is for a model's folder, and there is none yet
        raise ModelFaultError(str(error).removesuffix(f" {remedy_for(named.parent)}")) from error


def _labelled(source: Source, path: Path) -> tuple[Feature, ...]:
    """Return the features with the labels of `--labels FILE`.

    A number with labels becomes a category: it was trained on ordinal codes.
    """
    features = source.inspection.features
    given = read_object(path, "--labels")
    names = [feature.name for feature in features]
    if unknown := [name for name in given if name not in names]:
        raise ModelFaultError(
            f"--labels {path} names {shown(unknown)}, which the model does not have. Its features are {shown(names, 10)}."
        )
    found = list(features)
    for index, (feature, splits) in enumerate(zip(features, source.splits, strict=True)):
        if feature.name in given:
            if wrong := _wrong_labels(feature, splits, given[feature.name]):
                raise ModelFaultError(f"--labels {path}: {feature.name!r} {wrong}")
            found[index] = Feature(feature.name, Kind.CATEGORY, tuple(given[feature.name]))
    return tuple(found)


def _wrong_labels(feature: Feature, splits: Splits, labels: Any) -> str | None:
    """Say why labels cannot be those of the codes that the model's trees split at."""
    if (
        not isinstance(labels, list)
        or {type(value) for value in labels} not in ({str}, {int})
        or repeated(labels)
    ):
        return 'needs a list of different texts or whole numbers, in code order, such as ["label of code 0", "label of code 1"].'
    if feature.kind is Kind.BOOLEAN:
        return "is a boolean in the model file and takes 1 and 0. Leave it out."
    given: tuple[Label, ...] = tuple(labels)
    if feature.labels not in {(), given}:
        return f"has other labels in the model file: {shown(feature.labels, 10)}. Leave it out."
    count, highest = len(given), splits.highest_code
    remedy = "Give a label for each code, in code order."
    if highest is not None and highest >= count:
        return f"has {count} labels, and the model's trees know at least {highest + 1} codes (0 … {highest}). {remedy}"
    if feature.kind is Kind.NUMBER and (unlike := splits.unlike_codes(count)):
        listed = ", ".join(f"{one:.7g}" for one in unlike[:5])
        return (
            f"has {count} labels, so its codes would be 0 … {count - 1}, but the model splits it as a number, for "
            f"instance at {listed}. {remedy} If it is a number, leave it out."
        )
    return None
