"""Both engines' interactions, and the way from one to the other."""

from pathlib import Path

import numpy as np
import pytest

from services.worker.models import WarmModel, WarmModels
from shared.engines.compiled_engine import CompiledEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.treeshap import pairs
from shared.treeshap.library import Library
from shared.treeshap.top_k import slices
from tests.support.activated import activated_catalog
from tests.unit.shared.treeshap.boosters import Floats, interactions, train

ROOT = Path(__file__).parents[4]
MODELS = ("breast-cancer", "diabetes", "wine")


@pytest.fixture(scope="module")
def compiled_dir(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del library
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def catalog(compiled_dir: Path) -> ModelCatalog:
    return activated_catalog(ROOT / "models", compiled_dir)


def model_and_rows(
    catalog: ModelCatalog, name: str, folder: Path | None
) -> tuple[WarmModel, Floats, Explanation]:
    """A model, some of its examples with values missing, and their explanation."""
    model = WarmModels(catalog, folder).get(catalog.get(name).id)
    assert model.version.examples_path is not None
    rows = np.load(model.version.examples_path)[:40].copy()
    rows[::3, 1] = np.nan
    return model, rows, model.engine(Method.TREE_PATH_DEPENDENT).explain(rows)


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_give_xgboosts_matrices(catalog: ModelCatalog, compiled_dir: Path, name: str) -> None:
    for folder, kind in ((compiled_dir, CompiledEngine), (None, XGBoostEngine)):
        model, rows, values = model_and_rows(catalog, name, folder)
        engine = model.interaction_engine
        assert isinstance(engine, kind)
        got = engine.interactions(rows, values, Interactions())
        wanted = interactions(model.predictor.booster, rows)
        np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(got.sum(axis=3), values.contributions, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_choose_the_same_pairs(catalog: ModelCatalog, compiled_dir: Path, name: str) -> None:
    found = []
    for folder in (compiled_dir, None):
        model, rows, values = model_and_rows(catalog, name, folder)
        found.append(model.interaction_engine.interactions(rows, values, Interactions(top_pairs=5)))
    np.testing.assert_allclose(found[0][..., 2], found[1][..., 2], atol=1e-5, rtol=1e-5)
    same = (found[0][..., :2] == found[1][..., :2]).all(axis=-1)
    assert same.mean() > 0.9  # where two pairs weigh the same but for their last digit, either may be first


def test_xgboost_takes_as_many_rows_at_a_time_as_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    booster, x = train(3, 3, 6, objective="multi:softprob", num_class=3)
    engine = XGBoostEngine(booster, 3)
    values = engine.explain(x[:50])
    wanted = engine.interactions(x[:50], values, Interactions())
    monkeypatch.setattr("shared.treeshap.top_k._NUMBERS_AT_ONCE", 3 * 49 * 7)
    assert [len(range(50)[some]) for some in slices(50, 3 * 49)] == [7] * 7 + [1]
    np.testing.assert_array_equal(engine.interactions(x[:50], values, Interactions()), wanted)


def test_a_model_whose_pairs_are_too_many_is_xgboosts_for_interactions_alone_and_that_is_said(
    catalog: ModelCatalog,
    compiled_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 3)
    model, rows, values = model_and_rows(catalog, "wine", compiled_dir)
    for _ in range(2):
        got = model.interaction_engine.interactions(rows, values, Interactions())
    assert isinstance(model.engine(Method.TREE_PATH_DEPENDENT), CompiledEngine)
    np.testing.assert_allclose(got, interactions(model.predictor.booster, rows), atol=1e-6)
    assert [line.__dict__["cause"] for line in caplog.records] == [
        "more than 3 pairs of its features meet on a path"
    ]
