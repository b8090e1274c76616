"""Calls into engines: what breaks inside of one is told apart from all else, and what comes out is checked.

An engine is given the same rows and the same model each time, so whatever it raises it would raise again: the batch is not
tried another time, and its worker is not to blame. What says nothing of the engine goes through as it is: that memory ran
out, that the batch's time is over, and our own errors.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rq.timeouts import BaseTimeoutException

from shared.errors import EngineFaultError, ShapboxError
from shared.sum_check import ADVICE, SumsDifferError, check_interactions, check_sums

type Matrix = NDArray[np.float32]

#: What native libraries say where memory ran out, as other exceptions than MemoryError.
_OUT_OF_MEMORY = ("bad_alloc", "annot allocate memory")


@dataclass(slots=True)
class EngineCalls:
    """Calls of one engine for one model's rows, the first of which has the number `first_row` in its job."""

    engine: str
    model: str
    first_row: int = 0
    #: The largest residual of all results so far.
    largest_residual: float = field(default=0.0, init=False)

    def call[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into the engine. Raises EngineFaultError for whatever breaks in it, MemoryError where memory ran out."""
        try:
            return function(*args, **kwargs)
        except SumsDifferError as fault:
            raise fault.of(self.engine, self.model, self.first_row) from fault
        except (ShapboxError, MemoryError, BaseTimeoutException):
            raise
        except Exception as fault:
            if _ran_out_of_memory(fault):
                raise MemoryError(str(fault)) from fault
            raise EngineFaultError(
                f"The {self.engine} engine broke off while it explained rows of model {self.model} "
                f"({type(fault).__name__}: {fault}); no result was stored. {ADVICE}"
            ) from fault

    def explain(self, explain: Callable[[Matrix], Matrix], rows: Matrix, before: int = 0) -> Matrix:
        """Return the rows' result, (rows, outputs, features + 2), whose sums are right. Raises as `call` does.

        `before` is how many rows came before these in calls of their own.
        """
        result = self.call(explain, rows)
        self._note(self.call(check_sums, result, before))
        return result

    def check_matrices(self, matrices: Matrix, result: Matrix) -> None:
        """Check whole matrices of interactions against the rows' result. Raises as `call` does."""
        self._note(self.call(check_interactions, matrices, result))

    def _note(self, residual: float) -> None:
        self.largest_residual = max(self.largest_residual, residual)


def _ran_out_of_memory(fault: Exception) -> bool:
    if isinstance(fault, OSError) and fault.errno == errno.ENOMEM:
        return True
    return any(words in str(fault) for words in _OUT_OF_MEMORY)
