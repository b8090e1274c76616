"""The engines of the shipped models, which agree, and the way from one to the other."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ops.lab.reference import EXACT, distance
from services.worker.models import WarmModel, WarmModels
from shared.build import ROOT
from shared.engines.compiled_engine import CompiledEngine, tables_path
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.interactions import Interactions
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.treeshap import pairs
from shared.treeshap.library import Library
from shared.treeshap.top_k import slices
from tests.support.activated import activated_catalog
from tests.support.boosters import Floats, interactions, train

MODELS = ("breast-cancer", "diabetes", "wine")


@pytest.fixture(scope="module")
def compiled_dir(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del library
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def catalog(compiled_dir: Path) -> ModelCatalog:
    return activated_catalog(ROOT / "models", compiled_dir)


def examples(model: WarmModel, most: int = 40) -> Floats:
    """Return some of a model's examples, with values missing."""
    assert model.version.examples_path is not None
    rows: Floats = np.load(model.version.examples_path)[:most].copy()
    rows[::3, 1] = np.nan
    rows[1, ::2] = np.nan
    return rows


@pytest.mark.parametrize("name", MODELS)
def test_compiled_values_and_interactions_are_the_libraries_and_margins_the_same_to_the_bit(
    catalog: ModelCatalog, compiled_dir: Path, name: str
) -> None:
    ours, theirs = (WarmModels(catalog, folder).get(f"{name}@1") for folder in (compiled_dir, None))
    for method, library, most in (
        (Method.TREE_PATH_DEPENDENT, XGBoostEngine, 300),
        (Method.INTERVENTIONAL, ShapEngine, 10),
    ):
        rows = examples(ours, most)
        assert isinstance(ours.engine(method), CompiledEngine)
        assert isinstance(theirs.engine(method), library)
        got, wanted = ours.engine(method).explain(rows), theirs.engine(method).explain(rows)
        assert got.array.shape == wanted.array.shape
        assert distance(got.contributions, wanted.contributions) <= EXACT
        np.testing.assert_array_equal(got.margins, wanted.margins)
    rows, found = examples(ours), []
    for model, kind in ((ours, CompiledEngine), (theirs, XGBoostEngine)):
        values, engine = model.engine(Method.TREE_PATH_DEPENDENT).explain(rows), model.interaction_engine
        assert isinstance(engine, kind)
        pairs_found = engine.interactions(rows, values, Interactions())
        np.testing.assert_allclose(
            pairs_found, interactions(model.predictor.booster, rows), atol=1e-5, rtol=1e-5
        )
        np.testing.assert_allclose(pairs_found.sum(axis=3), values.contributions, atol=1e-5, rtol=1e-5)
        found.append(engine.interactions(rows, values, Interactions(top_pairs=5)))
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
    model = WarmModels(catalog, compiled_dir).get("wine@1")
    rows = examples(model)
    values = model.engine(Method.TREE_PATH_DEPENDENT).explain(rows)
    for _ in range(2):
        got = model.interaction_engine.interactions(rows, values, Interactions())
    assert isinstance(model.engine(Method.TREE_PATH_DEPENDENT), CompiledEngine)
    np.testing.assert_allclose(got, interactions(model.predictor.booster, rows), atol=1e-6)
    [line] = caplog.records
    assert line.__dict__["cause"] == "more than 3 pairs of its features meet on a path"


@pytest.mark.parametrize("damaged", Method)
def test_damaged_tables_are_left_to_the_library_for_their_method_alone_and_that_is_said(
    catalog: ModelCatalog,
    compiled_dir: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damaged: Method,
) -> None:
    version = catalog.get("diabetes")
    for path in compiled_dir.iterdir():
        shutil.copy(path, tmp_path)
    tables = tables_path(version, damaged, tmp_path)
    assert tables is not None
    tables.write_bytes(tables.read_bytes()[:-5])
    model = WarmModels(catalog, tmp_path).get(version.id)
    for method in Method:
        assert isinstance(model.engine(method), CompiledEngine) == (method is not damaged)
    [said] = [record for record in caplog.records if record.getMessage() == "compiled model refused"]
    assert said.__dict__["method"] == damaged.value
    # Nor are those of one method ever taken for the other's.
    others = tables_path(version, next(method for method in Method if method is not damaged), tmp_path)
    assert others is not None
    shutil.copy(others, tables)
    assert CompiledEngine.find(version, tmp_path, damaged) is None


HOT = """
import sys
from pathlib import Path
import numpy as np
from services.worker import __main__
from services.worker.models import WarmModels
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
models = WarmModels(ModelCatalog.load(Path("models")), Path(sys.argv[1]))
models.warm_up()
version = ModelCatalog.load(Path("models")).get("wine")
models.get(version.id).engine(Method.TREE_PATH_DEPENDENT).explain(np.zeros((500, len(version.features)), np.float32))
private = sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_"))
print(sorted(name for name in sys.modules if name in {"xgboost", "shap", "scipy", "pandas"}), private // 1024)
"""


@pytest.mark.usefixtures("catalog")
def test_a_hot_worker_has_neither_xgboost_nor_shap_and_less_than_60_mb_of_its_own(compiled_dir: Path) -> None:
    command = [sys.executable, "-c", HOT, str(compiled_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded, _, private = done.stdout.strip().rpartition(" ")
    assert loaded == "[]"
    assert int(private) < 60
