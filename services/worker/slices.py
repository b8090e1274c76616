"""A batch explained some rows at a time, where it has more than its engine takes in one go.

It was planned for another engine: for the compiled one, whose tables this worker cannot use, or by BATCH_ROWS. In one go it might
outlast BATCH_TIMEOUT_SECONDS, and count as hung.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.engines.calls import EngineCalls
from shared.engines.engine import Engine, Matrix


def explain_in_slices(
    engine: Engine, rows: Matrix, calls: EngineCalls, between: Callable[[], object]
) -> Matrix:
    """Return what the engine makes of the rows, each slice checked; `between` is called between two, and ends all by raising.

    Raises as EngineCalls does.
    """
    most = engine.rows_at_once
    if most is None or len(rows) <= most:
        return calls.explain(engine.explain, rows)
    first = calls.explain(engine.explain, rows[:most])
    result = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
    result[:most] = first
    for begin in range(most, len(rows), most):
        between()
        some = slice(begin, begin + most)
        result[some] = calls.explain(engine.explain, rows[some], begin)
    return result
