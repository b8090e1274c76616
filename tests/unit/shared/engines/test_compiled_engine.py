import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ops.lab.reference import EXACT, distance
from services.worker.models import WarmModels
from shared.engines.compiled_engine import CompiledEngine, tables_path
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.treeshap.library import Library
from shared.treeshap.table_file import table_path
from tests.support.activated import activated_catalog

ROOT = Path(__file__).parents[4]
MODELS = ("breast-cancer", "diabetes", "wine")


@pytest.fixture(scope="module")
def compiled_dir(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del library
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def catalog(compiled_dir: Path) -> ModelCatalog:
    return activated_catalog(ROOT / "models", compiled_dir)


@pytest.mark.parametrize("name", MODELS)
def test_values_are_within_1e5_of_xgboosts_and_margins_are_the_same_to_the_bit(
    catalog: ModelCatalog, compiled_dir: Path, name: str
) -> None:
    version = catalog.get(name)
    assert version.examples_path is not None
    rows = np.load(version.examples_path).copy()
    rows[::3, 1] = np.nan
    wanted = XGBoostEngine.load(version).explain(rows)
    model = WarmModels(catalog, compiled_dir).get(version.id)
    assert isinstance(model.engine(Method.TREE_PATH_DEPENDENT), CompiledEngine)
    got = model.engine(Method.TREE_PATH_DEPENDENT).explain(rows)
    assert got.array.shape == wanted.array.shape
    np.testing.assert_allclose(got.contributions, wanted.contributions, atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(got.margins, wanted.margins)


def test_a_model_without_a_file_and_one_with_a_damaged_file_are_xgboosts(
    catalog: ModelCatalog, compiled_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = catalog.get("diabetes")
    assert isinstance(WarmModels(catalog).get(version.id).engine(Method.TREE_PATH_DEPENDENT), XGBoostEngine)
    sha256 = version.contract.sha256
    content = table_path(compiled_dir, sha256).read_bytes()
    table_path(tmp_path, sha256).write_bytes(content[:-5])
    engine = WarmModels(catalog, tmp_path).get(version.id).engine(Method.TREE_PATH_DEPENDENT)
    assert isinstance(engine, XGBoostEngine)
    assert "compiled model refused" in caplog.text


@pytest.mark.parametrize("name", ["diabetes", "breast-cancer", "wine"])
def test_interventional_values_are_shaps_without_shap(
    catalog: ModelCatalog, compiled_dir: Path, name: str
) -> None:
    version = catalog.get(name)
    assert version.examples_path is not None
    rows = np.load(version.examples_path)[:30].astype(np.float32)
    rows[1, ::2] = np.nan
    ours, shaps = (WarmModels(catalog, folder).get(version.id) for folder in (compiled_dir, None))
    got = ours.engine(Method.INTERVENTIONAL).explain(rows)
    wanted = shaps.engine(Method.INTERVENTIONAL).explain(rows)
    assert distance(got.contributions, wanted.contributions) <= EXACT
    np.testing.assert_array_equal(got.margins, wanted.margins)
    assert isinstance(ours.engine(Method.INTERVENTIONAL), CompiledEngine)
    assert isinstance(shaps.engine(Method.INTERVENTIONAL), ShapEngine)


def test_damaged_tables_against_a_background_are_left_to_shap(
    catalog: ModelCatalog, compiled_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = catalog.get("diabetes")
    for path in compiled_dir.iterdir():
        shutil.copy(path, tmp_path)
    damaged = tables_path(version, Method.INTERVENTIONAL, tmp_path)
    assert damaged is not None
    damaged.write_bytes(damaged.read_bytes()[:-5])
    model = WarmModels(catalog, tmp_path).get(version.id)
    assert isinstance(model.engine(Method.INTERVENTIONAL), ShapEngine)
    assert isinstance(model.engine(Method.TREE_PATH_DEPENDENT), CompiledEngine)
    (said,) = [record for record in caplog.records if record.getMessage() == "compiled model refused"]
    assert said.__dict__["method"] == "interventional"


def test_path_dependent_tables_are_never_taken_for_those_against_a_background(
    catalog: ModelCatalog, compiled_dir: Path, tmp_path: Path
) -> None:
    version = catalog.get("diabetes")
    plain, other = (tables_path(version, method, compiled_dir) for method in Method)
    assert plain is not None
    assert other is not None
    shutil.copy(plain, tmp_path / other.name)
    assert CompiledEngine.find(version, tmp_path, Method.INTERVENTIONAL) is None


HOT = """
import sys
from pathlib import Path
import numpy as np
from services.worker import __main__
from ops.lab.reference import EXACT, distance
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


def test_a_hot_worker_has_neither_xgboost_nor_shap_and_less_than_60_mb_of_its_own(compiled_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOT, str(compiled_dir)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded, _, private = done.stdout.strip().rpartition(" ")
    assert loaded == "[]"
    assert int(private) < 60


def test_distance_is_relative_to_a_rows_largest_value_and_infinite_for_what_is_no_number() -> None:
    wanted = np.array([[[100.0, 1.0]], [[0.5, 0.25]]], dtype=np.float32)
    assert distance(wanted, wanted) == 0
    assert distance(wanted + np.array([[[0.5, 0]], [[0, 0]]], np.float32), wanted) == pytest.approx(0.005)
    assert distance(wanted.reshape(2, 2) + np.array([[0, 0], [0.125, 0]], np.float32), wanted) == 0.125
    assert distance(np.full_like(wanted, np.nan), wanted) == np.inf
