"""The monitor's metrics of the build and the models."""

from __future__ import annotations

from pathlib import Path

from services.monitor.metrics.collector import facts_of, families
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog

MODELS = Path(__file__).parents[4] / "models"
COMPILED = MethodRecord("compiled-avx2")


def samples(catalog: ModelCatalog, family: str) -> dict[tuple[str, ...], float]:
    """The samples of a family, by the values of their labels."""
    facts = facts_of(catalog.versions(), catalog.refused(), "c0ffee", None)
    (found,) = [one for one in families(facts) if one.name == f"shapbox_{family}"]
    return {tuple(sample.labels.values()): sample.value for sample in found.samples}


def test_refused_versions_are_1_and_those_that_are_served_0() -> None:
    refused = Activations("compiled-avx2", {"wine@1": VersionRecord("key", State.REFUSED, "too large")})
    catalog = ModelCatalog.load(MODELS, activations=refused)
    assert samples(catalog, "model_refused") == {
        ("breast-cancer", "1"): 0,
        ("diabetes", "1"): 0,
        ("wine", "1"): 1,
    }
    assert ("wine", "1") not in {labels[:2] for labels in samples(catalog, "model_info")}


def test_a_refused_method_has_no_engine() -> None:
    methods = {
        ExplanationKind.TREE_PATH_DEPENDENT: COMPILED,
        ExplanationKind.INTERVENTIONAL: MethodRecord(None, "shap's values are 0.67 off the margin"),
        ExplanationKind.INTERACTIONS: MethodRecord("xgboost", "more than 250,000 pairs"),
    }
    ready = Activations("compiled-avx2", {"wine@1": VersionRecord("key", State.READY, methods=methods)})
    engines = samples(ModelCatalog.load(MODELS, activations=ready), "model_engine_info")
    assert {labels[2:] for labels in engines if labels[0] == "wine"} == {
        ("tree_path_dependent", "compiled-avx2"),
        ("interactions", "xgboost"),
    }
    assert samples(ModelCatalog.load(MODELS, activations=ready), "model_refused")["wine", "1"] == 0
