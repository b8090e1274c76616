"""What a writer needs of a result that has interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.api.results.result_pages import ResultPages

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from shared.interactions import Interactions


class InteractionPages(ResultPages, Protocol):
    """The rows of a result that are asked for, and their interactions."""

    @property
    def interactions(self) -> Interactions:
        """Which interactions there are."""

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield the interactions in order, as Interactions.shape has them: some rows, or some lines of one row's matrices.

        Lines come as (1, outputs, lines, features + 1), down to that of the last feature. May be called several times.
        """

    def spans(self) -> Iterator[NDArray[np.float32]]:
        """Yield all their numbers, one after the other."""
