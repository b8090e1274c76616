"""One of the other libraries, in an environment of its own: `engine_program.py shap | shapiq | woodelf`.

It reads commands as JSON from standard input, a line each, and answers each with a line. Whoever is slow or hungry can
so be ended without ending the bench, and each library is timed by itself, without what the pipe takes.
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
import pandas as pd
import xgboost
from numpy.typing import NDArray

#: Bytes that a library may take: some make tables that grow without bound with the depth.
MOST_BYTES = 6 << 30

type Matrix = NDArray[np.float32]
type Explain = Callable[[Any], Any]


def shap_library(booster: Any, background: Matrix | None) -> tuple[Explain, Explain]:
    """Return what explains a matrix, and what makes an array of the answer."""
    import shap

    if background is None:
        explainer = shap.TreeExplainer(booster, feature_perturbation="tree_path_dependent")
    else:
        # Without max_samples shap takes a sample of 100 rows.
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
    return lambda rows: explainer.shap_values(rows, check_additivity=False), np.asarray


def shapiq_library(booster: Any, background: Matrix | None) -> tuple[Explain, Explain]:
    """Return what explains a matrix, and what makes an array of the answer."""
    import shapiq

    how = {"mode": "interventional", "reference_dataset": background} if background is not None else {}
    explainer = shapiq.TreeExplainer(booster, max_order=1, index="SV", **how)

    def array(found: Any) -> Any:
        by_features = found.values  # noqa: PD011  # a dict of shapiq's, and no data frame
        nothing = np.zeros(found.n_instances)
        return np.column_stack([by_features.get((i,), nothing) for i in range(found.n_players)])

    return explainer.explain_X, array


def woodelf_library(booster: Any, background: Matrix | None) -> tuple[Explain, Explain]:
    """Return what explains a matrix, and what makes an array of the answer."""
    from woodelf import WoodelfExplainer

    if background is None:
        explainer = WoodelfExplainer(booster, feature_perturbation="tree_path_dependent")
    else:
        explainer = WoodelfExplainer(booster, data=pd.DataFrame(background))
    return lambda rows: explainer.shap_values(rows, verbose=False), np.asarray


LIBRARIES = {"shap": shap_library, "shapiq": shapiq_library, "woodelf": woodelf_library}
#: What each library wants its rows as; making that is no part of what is timed.
KINDS: dict[str, Callable[[Matrix], Any]] = {
    "shap": np.ascontiguousarray,
    "shapiq": np.ascontiguousarray,
    "woodelf": pd.DataFrame,
}


class Program:
    """One library and the model that it explains now."""

    def __init__(self, name: str) -> None:
        self._make, self._kind = LIBRARIES[name], KINDS[name]
        self._rows: Matrix = np.zeros((0, 0), dtype=np.float32)
        self._given: dict[int, Any] = {}

    def load(self, model: str, rows: str, background: str | None = None) -> dict[str, Any]:
        """Load a model, and the rows that all later calls take their first so many of."""
        booster = xgboost.Booster({"nthread": 1}, model_file=model)
        self._rows, self._given = np.load(rows), {}
        self._explain, self._array = self._make(booster, np.load(background) if background else None)
        return {}

    def time(self, rows: int) -> dict[str, Any]:
        """Explain so many rows and say how long that took."""
        given = self._given.setdefault(rows, self._kind(self._rows[:rows]))
        began = time.perf_counter()
        self._explain(given)
        return {"seconds": time.perf_counter() - began}

    def values(self, rows: int, path: str) -> dict[str, Any]:
        """Write the values of so many rows to a file."""
        found = self._array(self._explain(self._kind(self._rows[:rows])))
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
        except Exception as fault:  # noqa: BLE001  # whatever a library raises is its answer
            answer = {"fault": f"{type(fault).__name__}: {fault}"[:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
