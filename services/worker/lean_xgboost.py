"""XGBoost without scikit-learn and pandas: a quarter of the start, and less than half of the memory.

`xgboost.compat` imports scikit-learn wherever it finds it, which brings pandas, SciPy's larger half and joblib;
it needs none of them to predict. They are hidden during that one import only, so that shap may have the real
ones afterwards. All code that needs XGBoost takes it from here.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from shared.errors import ModelFaultError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

#: Packages that XGBoost imports if it finds them, and that predicting does not need.
HIDDEN_PACKAGES = frozenset({"sklearn", "pandas"})

#: Threads that one worker predicts with: more of them make a machine with few cores slower, not faster.
THREADS = 1

_import_lock = threading.Lock()


class _Hidden:
    """A finder that denies the hidden packages to the thread that it was made in."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if threading.get_ident() == self._thread and fullname.partition(".")[0] in HIDDEN_PACKAGES:
            raise ModuleNotFoundError(f"{fullname} is hidden while xgboost is imported", name=fullname)
        return None


@functools.cache
def import_xgboost() -> Any:
    """Give the module `xgboost`, imported without scikit-learn and pandas unless somebody had imported it before."""
    with _import_lock:
        hidden = _Hidden()
        sys.meta_path.insert(0, hidden)
        try:
            return importlib.import_module("xgboost")
        finally:
            sys.meta_path.remove(hidden)


def load_booster(path: Path) -> Any:
    """Load an `xgboost.Booster` from a .ubj or .json file, set to one thread whatever OMP_NUM_THREADS says.

    Check the file's SHA-256 first, or do this in a process that may be lost: XGBoost can crash on a damaged
    file. Raises ModelFaultError if XGBoost refuses the file, OSError if it cannot be read.
    """
    xgboost = import_xgboost()
    content = path.read_bytes()
    booster = xgboost.Booster({"nthread": THREADS})
    try:
        booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelFaultError(
            f"{path.name} is no model that XGBoost {xgboost.__version__} can load: {said}"
        ) from error
    return booster
