"""Judges kinds of models in two processes, since XGBoost and shap may crash."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.method_table.judging import Verdicts, judge
from tests.support.method_table.trained_kinds import Kind

PROCESSES = 2


def judge_kinds(kinds: list[Kind]) -> dict[Kind, Verdicts]:
    """Return the verdicts of kinds, in the same order."""
    context = multiprocessing.get_context("spawn")  # a fork of threads that compute would hang
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        return dict(zip(kinds, pool.map(_judge_aside, kinds, chunksize=4), strict=True))


def _judge_aside(kind: Kind) -> Verdicts:
    with tempfile.TemporaryDirectory() as folder:
        return judge(kind, Path(folder))
