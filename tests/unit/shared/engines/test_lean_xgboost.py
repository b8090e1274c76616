"""XGBoost without pandas, scikit-learn and SciPy, on one thread, in other processes."""

import subprocess
import sys

from shared.build import ROOT

LEAN = """
import os, sys
from pathlib import Path
import numpy as np
from shared.engines.lean_xgboost import import_xgboost, load_booster
xgboost = import_xgboost()
assert import_xgboost() is xgboost
assert not {"pandas", "sklearn", "shap", "joblib", "scipy", "scipy.sparse"} & set(sys.modules), "too much was imported"

loaded = load_booster(Path("models/diabetes/1/model.ubj"))
zeros = np.zeros((5000, 10), dtype=np.float32)
before = len(os.listdir("/proc/self/task"))
loaded.inplace_predict(zeros)
loaded.predict(xgboost.DMatrix(zeros, nthread=1), pred_contribs=True, validate_features=False)
assert len(os.listdir("/proc/self/task")) == before, "XGBoost started threads"

rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
matrix = xgboost.DMatrix(rows, rows[:, 0] > 0, nthread=1)
booster = xgboost.train({"nthread": 1, "objective": "multi:softprob", "num_class": 2}, matrix, 3)
booster.predict(matrix, pred_contribs=True)
assert np.allclose(booster.inplace_predict(rows), booster.predict(matrix))
import scipy.sparse
assert xgboost.DMatrix(scipy.sparse.csr_matrix(rows), nthread=1).num_nonmissing() == rows.size
assert xgboost.core.scipy.sparse.csr_matrix is scipy.sparse.csr_matrix
margins = booster.predict(matrix, output_margin=True)
assert np.allclose(xgboost.sklearn.softmax(margins, axis=1), booster.predict(matrix), atol=1e-6)  # SciPy's, by name
assert not {"pandas", "sklearn"} & set(sys.modules), "predicting imported too much"
"""
#: shap, which imports pandas and scikit-learn, still finds the real ones.
THEN_SHAP = """
import numpy as np
from shared.engines.lean_xgboost import import_xgboost
xgboost = import_xgboost()
rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
matrix = xgboost.DMatrix(rows, rows[:, 0], nthread=1)
booster = xgboost.train({"nthread": 1}, matrix, 3)
import shap
import pandas, sklearn.ensemble
assert pandas.DataFrame({"a": [1]}).shape == (1, 1)
values = shap.TreeExplainer(booster).shap_values(rows)
assert np.allclose(values, booster.predict(matrix, pred_contribs=True)[:, :-1], atol=1e-5)
shap.TreeExplainer(booster, rows[:9], feature_perturbation="interventional").shap_values(rows)
assert booster.predict(xgboost.DMatrix(pandas.DataFrame(rows))).shape == (50,)
"""


def run(program: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "8"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_xgboost_comes_alone_and_uses_one_thread_even_if_the_environment_asks_for_more() -> None:
    run(LEAN)


def test_shap_still_has_the_real_libraries() -> None:
    run(THEN_SHAP)
