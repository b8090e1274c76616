"""Imports XGBoost without scikit-learn, pandas and SciPy: in a tenth of the time.

`xgboost.compat` imports scikit-learn wherever it finds it, which brings pandas and joblib, and XGBoost requires SciPy for
sparse matrices and one softmax. It needs none of them to predict from arrays, and takes a sixth of the memory without.
During that one import the first two are hidden and SciPy is replaced, so that shap can import the real ones later. All
code that needs XGBoost takes it from here.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shared.errors import ModelFaultError
from shared.memory import ran_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.models.contract import Trees

#: Packages that XGBoost imports if they are installed. Predicting does not need them.
HIDDEN_PACKAGES = ("sklearn", "pandas")

#: The parts of SciPy that XGBoost imports, the package first.
REPLACED = ("scipy", "scipy.sparse", "scipy.special")
#: The functions that XGBoost calls with all data, each of which imports scipy.sparse.
SPARSE_QUESTIONS = ("is_scipy_csr", "is_scipy_csc", "is_scipy_coo")

#: Threads of one process: more of them make a machine with few cores slower, not faster.
THREADS = 1

_import_lock = threading.Lock()


class _LazyModule(ModuleType):
    """Replaces a module that XGBoost imports and does not use; a use imports the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # XGBoost takes it by name while it is imported
            return functools.partial(_call, self.__name__, name)
        return getattr(importlib.import_module(self.__name__), name)


def _call(module: str, name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args, **kwargs)


@functools.cache
def import_xgboost() -> Any:
    """Return the module `xgboost`, imported lean unless it or SciPy had been imported before."""
    with _import_lock, _packages_replaced():
        xgboost = importlib.import_module("xgboost")
    data: Any = importlib.import_module("xgboost.data")
    for question in SPARSE_QUESTIONS:
        setattr(data, question, _only_with_scipy(getattr(data, question)))
    return xgboost


@contextmanager
def _packages_replaced() -> Iterator[None]:
    """Hide and replace those packages that have not been imported yet."""
    modules: dict[str, Any] = dict.fromkeys(HIDDEN_PACKAGES)  # None: an import of it fails
    modules |= {name: _LazyModule(name) for name in REPLACED}
    for name in REPLACED[1:]:
        setattr(modules["scipy"], name.removeprefix("scipy."), modules[name])
    added = {name: module for name, module in modules.items() if name.partition(".")[0] not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _only_with_scipy(question: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Answer False while scipy.sparse is not imported: then no data can be of its types."""

    @functools.wraps(question)
    def asked(data: Any) -> bool:
        return "scipy.sparse" in sys.modules and question(data)

    return asked


def load_booster(path: Path, trees: Trees | None = None) -> Any:
    """Load an `xgboost.Booster` with the rounds that count, set to one thread.

    The file is UBJSON or JSON and holds all rounds; `trees` says how many of them are used. Without it these are the rounds
    that `model.predict` uses: up to `best_iteration` where the file has that. Check the file's SHA-256 first, or call this in
    a process that may crash: XGBoost can crash on a damaged file. Raises ModelFaultError if XGBoost refuses the file, OSError
    if it cannot be read, MemoryError if memory runs out.
    """
    xgboost = import_xgboost()
    content = path.read_bytes()
    booster = xgboost.Booster({"nthread": THREADS})
    try:
        booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        if ran_out_of_memory(error):
            raise MemoryError(said) from error
        raise ModelFaultError(
            f"{path.name} cannot be loaded by XGBoost {xgboost.__version__}: {said}"
        ) from error
    return used_rounds(booster, trees)


def used_rounds(booster: Any, trees: Trees | None = None) -> Any:
    """Return a booster of the rounds that count, as in `load_booster`; the same one if all do."""
    xgboost = import_xgboost()
    total = booster.num_boosted_rounds()
    best = booster.attr("best_iteration")
    used = total
    if trees is not None:
        used = trees.used
    elif best is not None and best.isdecimal():
        used = int(best) + 1
    if not 0 < used < total:
        return booster
    try:
        sliced = booster[:used]
    except xgboost.core.XGBoostError:  # a linear model has weights and no rounds
        return booster
    sliced.set_param({"nthread": THREADS})
    return sliced
