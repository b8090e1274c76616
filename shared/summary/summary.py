"""The digest of a batch, and of a job: moments of all its rows, and some rows as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.jobs.document import Job
from shared.summary.moments import Moments, Of
from shared.summary.sample import KEPT_RATIO, sampled_places

type Matrix = NDArray[np.float32]

#: How many arrays a digest is stored as.
DIGEST_ARRAYS = 3
#: Bytes of the headers of the arrays that a digest is stored as, at most.
_HEADERS = 3 * 192


@dataclass(frozen=True, slots=True)
class Digest:
    """Moments, and the sample's rows in their order.

    `features` has shape (sampled, features), NaN is missing; `results` has shape (sampled, outputs, features + 2): SHAP
    values, base value and margin.
    """

    moments: Moments
    features: Matrix
    results: Matrix

    @classmethod
    def of_batch(cls, job: Job, batch: int, features: Matrix, results: Matrix) -> Digest:
        """Make the digest of a batch from all of its rows."""
        places = sampled_places(job, batch)
        return cls(Moments.of(features, results[:, :, :-2]), features[places], results[places])

    @classmethod
    def merged(cls, parts: Sequence[Digest]) -> Digest:
        """Return the digest of all parts, which come in their order."""
        return cls(
            Moments.merged([part.moments for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.results for part in parts]),
        )

    @property
    def arrays(self) -> tuple[NDArray[np.float64], Matrix, Matrix]:
        """What is stored of it; the number of rows is the batch's."""
        return self.moments.table, self.features, self.results

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return sum(array.nbytes for array in self.arrays)


def digest_bytes(rows: int, features: int, outputs: int) -> int:
    """Return what a batch's digest takes where it is stored, at most."""
    moments = outputs * features * len(Of) * 8
    sampled = rows // KEPT_RATIO + 2
    return moments + sampled * (features + outputs * (features + 2)) * 4 + _HEADERS
