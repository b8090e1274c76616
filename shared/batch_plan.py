"""Plans the size of batches.

A result must fit a worker's memory, and a worker's death must not cost much work. So a batch has 500 rows with XGBoost's engine, and with the compiled one as many as take that time. BATCH_ROWS replaces both.
"""

from __future__ import annotations

from shared.errors import BatchTooLargeError
from shared.interactions import Interactions
from shared.settings import Settings

#: Rows of a batch without BATCH_ROWS, and how many times as many the compiled engine explains in the same time: with its
#: slowest kernel, at the depth where it gains the least (docs/benchmarks.md).
ROWS, COMPILED_TIMES = 500, 10
#: MB of the result of a batch of more than ROWS, at most: the api holds one for each upload and stream.
LARGE_BATCH_MB = 1
#: Rows of a batch with interactions, and numbers of their matrices, at most: with XGBoost's engine a row may take a tenth
#: of a second, and a batch must stay far below BATCH_TIMEOUT_SECONDS.
INTERACTION_ROWS, INTERACTION_NUMBERS = 100, 2**24
#: Bytes of a float32.
FLOAT_BYTES = 4
#: Copies of a batch's result in a worker's memory, at most: from the engine, beside its margins, as bytes, and in the
#: object store's buffer.
COPIES = 4
#: MB of a worker without any batch: the interpreter, the libraries and some warm models.
WORKER_BASE_MB = 110
#: MB that one batch may take at least.
LEAST_BUDGET_MB = 16
#: Pairs of a row and a background row, times outputs, of an interventional batch, at most: some seconds of shap's work
#: on a usual model.
INTERVENTIONAL_PAIRS = 50_000


def batch_budget_bytes(settings: Settings) -> int:
    """Return how many bytes one batch's result may have."""
    worker_mb = settings.worker_memory_limit_mb or settings.memory_limit_mb // 2
    return max(worker_mb - WORKER_BASE_MB, LEAST_BUDGET_MB) * 2**20 // COPIES


def row_bytes(features: int, outputs: int, power: int = 1) -> int:
    """Return the bytes of one row's explanation: `power` is 1 for values, 2 for interactions."""
    return int(outputs * (features + 1) ** power * FLOAT_BYTES)


def plan_batch_rows(
    features: int, outputs: int, settings: Settings, power: int = 1, *, compiled: bool = False
) -> int:
    """Return the rows of a batch: BATCH_ROWS or the engine's number, if so many fit a worker.

    Raises BatchTooLargeError if not even one row fits, with the largest size that would.
    """
    budget, each = batch_budget_bytes(settings), row_bytes(features, outputs, power)
    if each <= budget:
        wanted = settings.batch_rows or (_compiled_rows(each) if compiled else ROWS)
        return min(wanted, budget // each)
    most = int((budget / FLOAT_BYTES / outputs) ** (1 / power)) - 1
    raise BatchTooLargeError(
        f"One row of {features} features and {outputs} outputs needs {each / 2**20:.0f} MB, but a worker has "
        f"{budget / 2**20:.0f} MB for it. With {outputs} outputs, at most {max(most, 0)} features fit. Use a model with "
        "fewer features, or raise MEMORY_LIMIT_MB."
    )


def _compiled_rows(each: int) -> int:
    """Return the rows of a batch of the compiled engine, for so many bytes per row."""
    return max(ROWS, min(ROWS * COMPILED_TIMES, LARGE_BATCH_MB * 2**20 // each))


def plan_interventional_rows(batch_rows: int, background_rows: int, outputs: int) -> int:
    """Return the rows of an interventional batch without the compiled engine."""
    return max(1, min(batch_rows, INTERVENTIONAL_PAIRS // (background_rows * outputs)))


def plan_interaction_rows(features: int, outputs: int, settings: Settings, interactions: Interactions) -> int:
    """Return the rows of a batch with interactions.

    One row's whole matrices must fit even where only the top pairs are requested: they are chosen from those. Raises
    BatchTooLargeError if they do not.
    """
    rows = plan_batch_rows(features, outputs, settings, power=2)
    most = min(INTERACTION_ROWS, INTERACTION_NUMBERS // (outputs * (features + 1) ** 2))
    if interactions.top_pairs is not None:
        each = FLOAT_BYTES * interactions.numbers(features, outputs)
        rows = min(plan_batch_rows(features, outputs, settings), batch_budget_bytes(settings) // each)
    return max(1, min(rows, most))
