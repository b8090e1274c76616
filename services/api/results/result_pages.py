"""What a writer needs of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray


class ResultPages(Protocol):
    """The rows of a result that are asked for (`?offset=`, `?limit=` are applied already), in input order."""

    @property
    def job_id(self) -> str | None:
        """The job that made it; None if nobody can ask for that."""

    @property
    def model(self) -> str:
        """The model as NAME@VERSION."""

    @property
    def method(self) -> str:
        """The method, such as tree_path_dependent."""

    @property
    def feature_names(self) -> Sequence[str]:
        """The model's features in order."""

    @property
    def output_names(self) -> Sequence[str]:
        """The model's outputs in order; a single one makes two-dimensional values."""

    @property
    def rows(self) -> int:
        """How many rows all blocks have together."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield rows x outputs x (features + 2): the features' values, the base value, the margin.

        May be called several times; each time it starts at the first row.
        """
