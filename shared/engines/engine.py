"""Engines, and how they are called: their faults are told apart from ours, and their results are checked.

An engine gets the same rows and the same model each time, so an exception in it would be raised again: the batch is not
tried again, and its worker is not to blame. Exceptions that say nothing about the engine pass through: memory that ran
out, the end of the batch's time, and our own errors.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rq.timeouts import BaseTimeoutException

from shared.errors import EngineFaultError, ShapboxError
from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.sum_check import ADVICE, SumsDifferError, check_interactions, check_sums

#: Parts of the messages by which native libraries report that memory ran out, without a MemoryError.
_OUT_OF_MEMORY = ("bad_alloc", "annot allocate memory")


class Engine(Protocol):
    """Explains rows of one model. It is loaded once and kept warm; one thread uses it."""

    @property
    def rows_at_once(self) -> int | None:
        """The number of rows it explains in one call, so that no call takes long; None for no limit."""
        ...

    def explain(self, rows: Matrix) -> Explanation:
        """Return the exact SHAP values of rows (rows, features), on the margin's scale; NaN is missing.

        The margin is the model's own, not the sum of the values: that they add up to it is a check. Raises EngineError
        for a kind of model that the method cannot explain.
        """
        ...


class InteractionEngine(Protocol):
    """Computes path-dependent interactions of pairs of features."""

    def interactions(self, rows: Matrix, explanation: Explanation, wanted: Interactions) -> Matrix:
        """Return the rows' exact interactions in the shape `wanted.shape`.

        `explanation` is an engine's for the same rows. Raises EngineError for a kind of model that has none.
        """
        ...


@dataclass(slots=True)
class EngineCalls:
    """Calls one engine for rows of one model; the first of them has the number `first_row` in its job."""

    engine: str
    model: str
    first_row: int = 0
    #: The largest residual of all results so far.
    largest_residual: float = field(default=0.0, init=False)

    def call[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into the engine. Raises EngineFaultError for an exception in it, MemoryError if memory ran out."""
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
                f"The {self.engine} engine failed while it explained rows of model {self.model} "
                f"({type(fault).__name__}: {fault}); no result was stored. {ADVICE}"
            ) from fault

    def explain(self, explain: Callable[[Matrix], Explanation], rows: Matrix, before: int = 0) -> Explanation:
        """Return the rows' explanation, with its sums checked. Raises as `call` does.

        `before` is the number of rows that earlier calls explained.
        """
        explanation = self.call(explain, rows)
        self._note(self.call(check_sums, explanation, before))
        return explanation

    def check_matrices(self, matrices: Matrix, explanation: Explanation) -> None:
        """Check whole matrices of interactions against the rows' explanation. Raises as `call` does."""
        self._note(self.call(check_interactions, matrices, explanation))

    def _note(self, residual: float) -> None:
        self.largest_residual = max(self.largest_residual, residual)


def _ran_out_of_memory(fault: Exception) -> bool:
    if isinstance(fault, OSError) and fault.errno == errno.ENOMEM:
        return True
    return any(words in str(fault) for words in _OUT_OF_MEMORY)
