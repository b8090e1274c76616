"""Compares a contract with its model's file, and completes one of format 1 from it."""

from __future__ import annotations

from dataclasses import replace

from shared.errors import ModelFaultError
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import FORMAT, Contract, Feature, Kind, Trees, TreesReason, link_of


def complete_contract(contract: Contract, inspection: ModelInspection) -> Contract:
    """Return the contract, completed if it is of format 1.

    Raises ModelFaultError where it contradicts the file.
    """
    names = tuple(feature.name for feature in inspection.features)
    if len(names) != len(contract.features):
        raise ModelFaultError(
            f"the model takes {len(names)} features, its manifest names {len(contract.features)}"
        )
    if inspection.named and names != contract.feature_names:
        raise ModelFaultError("the model's feature names are not the manifest's, or in another order")
    if inspection.outputs != len(contract.outputs):
        raise ModelFaultError(
            f"the model gives {inspection.outputs} outputs, its manifest names {len(contract.outputs)}"
        )
    if inspection.objective != contract.objective:
        raise ModelFaultError(
            f"the model's objective is {inspection.objective}, its manifest says {contract.objective}"
        )
    if contract.format < FORMAT:
        return _upgrade(contract, inspection)
    _check_trees(contract, inspection)
    for said, found in zip(contract.features, inspection.features, strict=True):
        _check_feature(said, found)
    return contract


def _upgrade(contract: Contract, inspection: ModelInspection) -> Contract:
    features = tuple(
        replace(found, name=said.name)
        for said, found in zip(contract.features, inspection.features, strict=True)
    )
    trees = Trees(inspection.rounds, inspection.rounds)
    if inspection.best_iteration is not None and inspection.best_iteration + 1 < inspection.rounds:
        trees = Trees(inspection.best_iteration + 1, inspection.rounds, TreesReason.BEST_ITERATION)
    return replace(
        contract, features=features, trees=trees, link=link_of(inspection.objective), format=FORMAT
    )


def _check_trees(contract: Contract, inspection: ModelInspection) -> None:
    if contract.trees is None or contract.trees.total != inspection.rounds:
        said = contract.trees.total if contract.trees else "nothing of them"
        raise ModelFaultError(f"the model has {inspection.rounds} boosting rounds, its manifest says {said}")


def _check_feature(said: Feature, found: Feature) -> None:
    if found.kind is Kind.CATEGORY and said.kind is not Kind.CATEGORY:
        raise ModelFaultError(f"the model takes {said.name!r} as a category, its manifest as a {said.kind}")
    if found.labels and found.labels != said.labels:
        raise ModelFaultError(f"the labels of {said.name!r} are not the manifest's, or in another order")
