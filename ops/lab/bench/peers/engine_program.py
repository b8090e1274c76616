"""One library in an environment of its own: `engine_program.py shap | shapiq | woodelf`.

It reads commands as JSON from standard input, a line each, and answers each with a line. A slow or hungry one can so be
ended without ending the bench, and each library is timed by itself, without what the pipe takes.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

#: Bytes that a library may take: some make tables that grow without bound with the depth.
MOST_BYTES = 6 << 30

type Matrix = NDArray[np.float32]
#: What makes a matrix what the library wants, which is not timed; what explains that; what makes an array of the answer.
type Ways = tuple[Callable[[Matrix], Any], Callable[[Any], Any], Callable[[Any], Any]]


def shap_library(booster: Any, background: Matrix | None) -> Ways:
    """Shap's TreeExplainer."""
    import shap

    # Without max_samples shap takes a sample of 100 rows.
    masker = None if background is None else shap.maskers.Independent(background, max_samples=len(background))
    how = "tree_path_dependent" if background is None else "interventional"
    explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation=how)
    return np.ascontiguousarray, lambda rows: explainer.shap_values(rows, check_additivity=False), np.asarray


def shapiq_library(booster: Any, background: Matrix | None) -> Ways:
    """Shapiq's TreeExplainer for single features."""
    import shapiq

    how = {} if background is None else {"mode": "interventional", "reference_dataset": background}
    explainer = shapiq.TreeExplainer(booster, max_order=1, index="SV", **how)

    def array(found: Any) -> Any:
        by_features = found.values  # noqa: PD011  # a dict of shapiq's, and no data frame
        nothing = np.zeros(found.n_instances)
        return np.column_stack([by_features.get((i,), nothing) for i in range(found.n_players)])

    return np.ascontiguousarray, explainer.explain_X, array


def woodelf_library(booster: Any, background: Matrix | None) -> Ways:
    """Woodelf's explainer, which wants data frames."""
    import pandas as pd
    from woodelf import WoodelfExplainer

    how = (
        {"feature_perturbation": "tree_path_dependent"}
        if background is None
        else {"data": pd.DataFrame(background)}
    )
    explainer = WoodelfExplainer(booster, **how)
    return pd.DataFrame, lambda rows: explainer.shap_values(rows, verbose=False), np.asarray


class Program:
    """One library and the model that it explains now."""

    def __init__(self, name: str) -> None:
        self._make: Callable[[Any, Matrix | None], Ways] = globals()[f"{name}_library"]

    def load(self, model: str, rows: str, background: str | None = None) -> dict[str, Any]:
        """Load a model, and the rows that all later calls take their first so many of."""
        booster = xgboost.Booster({"nthread": 1}, model_file=model)
        self._rows = np.load(rows)
        self._convert, self._explain, self._array = self._make(
            booster, np.load(background) if background else None
        )
        return {}

    def time(self, rows: int) -> dict[str, Any]:
        """Explain so many rows and say how long that took."""
        given = self._convert(self._rows[:rows])
        began = time.perf_counter()
        self._explain(given)
        return {"seconds": time.perf_counter() - began}

    def values(self, rows: int, path: str) -> dict[str, Any]:
        """Write the values of so many rows to a file."""
        found = self._array(self._explain(self._convert(self._rows[:rows])))
        np.save(path, np.asarray(found, dtype=np.float64).reshape(rows, -1))
        return {}


def main() -> None:
    """Answer until standard input ends."""
    warnings.simplefilter("ignore")  # each library's own remarks
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    program, answers = Program(sys.argv[1]), sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        words = json.loads(line)
        try:
            answer = getattr(program, words.pop("do"))(**words)
        except Exception as fault:  # noqa: BLE001  # any exception of a library is its answer
            answer = {"fault": f"{type(fault).__name__}: {fault}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
