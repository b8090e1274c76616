"""Judges every kind of model in two processes, since XGBoost and shap may crash."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.method_table.judging import Verdicts, judge
from tests.support.method_table.trained_kinds import Kind, every_kind

PROCESSES = 2


def judge_all() -> dict[Kind, Verdicts]:
    """Return the verdicts of every kind, in the page's order."""
    kinds = every_kind()
    context = multiprocessing.get_context("spawn")  # a fork of threads that compute would hang
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        return dict(zip(kinds, pool.map(_judge_aside, kinds, chunksize=4), strict=True))


def _judge_aside(kind: Kind) -> Verdicts:
    with tempfile.TemporaryDirectory() as folder:
        return judge(kind, Path(folder))
