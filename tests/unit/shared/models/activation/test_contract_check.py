"""A contract against what its model's file says."""

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import ModelFaultError
from shared.models.activation.contract_check import complete_contract
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import FORMAT, Contract, Feature, Kind, Link, Trees, TreesReason

COLOURS = ("red", "green", "blue")
INSPECTION = ModelInspection(
    features=(Feature("age"), Feature("paid", Kind.BOOLEAN), Feature("colour", Kind.CATEGORY, COLOURS)),
    named=True,
    outputs=1,
    objective="binary:logistic",
    booster="gbtree",
    rounds=20,
    best_iteration=6,
    attributes={},
    library_version="3.4.1",
)
CONTRACT = Contract(
    name="churn",
    version=1,
    sha256="",
    features=INSPECTION.features,
    outputs=("y",),
    objective="binary:logistic",
    library_version="3.4.1",
    training={},
    link=Link.SIGMOID,
    trees=Trees(12, 20, TreesReason.CHOSEN),
)
#: As the reader gives it: names and numbers alone.
FIRST_FORMAT = replace(
    CONTRACT,
    features=tuple(Feature(feature.name) for feature in INSPECTION.features),
    link=Link.IDENTITY,
    trees=None,
    format=1,
)


def with_colour(colour: Feature) -> dict[str, Any]:
    return {"features": (*INSPECTION.features[:2], colour)}


def test_a_contract_that_its_file_bears_out_stays_as_it_is() -> None:
    assert complete_contract(CONTRACT, INSPECTION) is CONTRACT
    # The file may know no labels, or not that a number is a category.
    for colour in (Feature("colour", Kind.CATEGORY), Feature("colour")):
        assert complete_contract(CONTRACT, replace(INSPECTION, **with_colour(colour))) == CONTRACT


def test_the_first_format_is_completed_from_the_file() -> None:
    completed = complete_contract(FIRST_FORMAT, INSPECTION)
    assert completed == replace(CONTRACT, trees=Trees(7, 20, TreesReason.BEST_ITERATION))
    assert completed.format == FORMAT
    for best in (None, 19):  # unknown, or the last
        completed = complete_contract(FIRST_FORMAT, replace(INSPECTION, best_iteration=best))
        assert completed.trees == Trees(20, 20, TreesReason.ALL)
    unnamed = tuple(replace(feature, name=f"f{place}") for place, feature in enumerate(INSPECTION.features))
    completed = complete_contract(FIRST_FORMAT, replace(INSPECTION, features=unnamed, named=False))
    assert completed.features == CONTRACT.features


def test_a_contract_that_contradicts_its_file_is_refused() -> None:
    found: list[tuple[dict[str, Any], str]] = [
        ({"features": INSPECTION.features[:2]}, "takes 2 features, its manifest names 3"),
        (with_colour(Feature("color", Kind.CATEGORY, COLOURS)), "feature names are not the manifest's"),
        (
            {"features": INSPECTION.features[::-1]},
            "feature names are not the manifest's, or in another order",
        ),
        ({"outputs": 3}, "gives 3 outputs, its manifest names 1"),
        ({"objective": "reg:gamma"}, "objective is reg:gamma, its manifest says binary:logistic"),
    ]
    for changes, reason in found:
        for contract in (CONTRACT, FIRST_FORMAT):
            with pytest.raises(ModelFaultError, match=reason):
                complete_contract(contract, replace(INSPECTION, **changes))
    said: list[tuple[dict[str, Any], str]] = [
        ({"trees": None}, "has 20 boosting rounds, its manifest says nothing of them"),
        ({"trees": Trees(7, 19)}, "has 20 boosting rounds, its manifest says 19"),
        (with_colour(Feature("colour")), "takes 'colour' as a category, its manifest as a number"),
        (
            with_colour(Feature("colour", Kind.CATEGORY, COLOURS[::-1])),
            "labels of 'colour' are not the manifest's",
        ),
        (with_colour(Feature("colour", Kind.CATEGORY)), "labels of 'colour' are not the manifest's"),
    ]
    for changes, reason in said:
        with pytest.raises(ModelFaultError, match=reason):
            complete_contract(replace(CONTRACT, **changes), INSPECTION)
