from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]

LEAN_THEN_SHAP = """
import sys
import numpy as np
from shared.engines.lean_xgboost import import_xgboost
xgboost = import_xgboost()
assert import_xgboost() is xgboost
assert not {"pandas", "sklearn", "shap", "joblib", "scipy", "scipy.sparse"} & set(sys.modules), "too much was imported"
rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
matrix = xgboost.DMatrix(rows, rows[:, 0], nthread=1)
booster = xgboost.train({"nthread": 1}, matrix, 3)
contributions = booster.predict(matrix, pred_contribs=True)
assert not {"pandas", "sklearn", "scipy"} & set(sys.modules), "explaining imported too much"
assert np.allclose(booster.inplace_predict(rows), booster.predict(matrix))  # this one asks SciPy
import scipy.sparse
assert xgboost.DMatrix(scipy.sparse.csr_matrix(rows), nthread=1).num_nonmissing() == rows.size
assert xgboost.core.scipy.sparse.csr_matrix is scipy.sparse.csr_matrix
assert not {"pandas", "sklearn"} & set(sys.modules), "predicting imported too much"
import shap
import pandas, sklearn.ensemble
assert pandas.DataFrame({"a": [1]}).shape == (1, 1)
values = shap.TreeExplainer(booster).shap_values(rows)
assert np.allclose(values, contributions[:, :-1], atol=1e-5)
shap.TreeExplainer(booster, rows[:9], feature_perturbation="interventional").shap_values(rows)
assert booster.predict(xgboost.DMatrix(pandas.DataFrame(rows))).shape == (50,)
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("services")]
"""

ONE_THREAD = """
import os, sys
from pathlib import Path
import numpy as np
from shared.engines.lean_xgboost import import_xgboost, load_booster
xgboost = import_xgboost()
booster = load_booster(Path("models/diabetes/1/model.ubj"))
rows = np.zeros((5000, 10), dtype=np.float32)
before = len(os.listdir("/proc/self/task"))
booster.inplace_predict(rows)
booster.predict(xgboost.DMatrix(rows, nthread=1), pred_contribs=True, validate_features=False)
assert len(os.listdir("/proc/self/task")) == before, "XGBoost started threads"
"""


SOFTMAX = """
import numpy as np
from shared.engines.lean_xgboost import import_xgboost
xgboost = import_xgboost()
classes = np.repeat(np.arange(3), 20)
rows = np.random.default_rng(0).normal(size=(60, 3)) + classes[:, None]
booster = xgboost.train({"nthread": 1, "objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(rows, classes), 3)
margins = booster.predict(xgboost.DMatrix(rows), output_margin=True)
assert np.allclose(xgboost.sklearn.softmax(margins, axis=1), booster.predict(xgboost.DMatrix(rows)), atol=1e-6)
"""


def run(program: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_xgboost_comes_without_pandas_sklearn_and_scipy_and_shap_still_has_the_real_ones() -> None:
    run(LEAN_THEN_SHAP)


def test_what_xgboost_took_of_scipy_by_name_works_when_it_is_used() -> None:
    run(SOFTMAX)


def test_a_loaded_booster_uses_one_thread_even_if_the_environment_asks_for_more() -> None:
    run(ONE_THREAD, OMP_NUM_THREADS="8")
