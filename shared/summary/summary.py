"""The summary of a batch, and of a job: moments of all its rows, and a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.explanation import Explanation
from shared.jobs.document import Job
from shared.summary.moments import Moments, Of
from shared.summary.sample import KEPT_RATIO, sampled_places

type Matrix = NDArray[np.float32]

#: How many arrays a summary is stored as.
SUMMARY_ARRAYS = 3
#: Bytes of these arrays' headers, at most.
_HEADERS = 3 * 192


@dataclass(frozen=True, slots=True)
class Summary:
    """Moments, and the sample's rows in order with their explanation.

    `features` has shape (sampled, features); NaN is missing.
    """

    moments: Moments
    features: Matrix
    explanation: Explanation

    @classmethod
    def of_batch(cls, job: Job, batch: int, features: Matrix, explanation: Explanation) -> Summary:
        """Summarise a batch from all of its rows."""
        places = sampled_places(job, batch)
        sampled = Explanation(explanation.array[places])
        return cls(Moments.of(features, explanation.values), features[places], sampled)

    @classmethod
    def merged(cls, parts: Sequence[Summary]) -> Summary:
        """Return the summary of all parts, given in order."""
        return cls(
            Moments.merged([part.moments for part in parts]),
            np.concatenate([part.features for part in parts]),
            Explanation.concatenate([part.explanation for part in parts]),
        )

    @property
    def arrays(self) -> tuple[NDArray[np.float64], Matrix, Matrix]:
        """The stored arrays; the number of rows is the batch's."""
        return self.moments.table, self.features, self.explanation.array

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return sum(array.nbytes for array in self.arrays)


def summary_bytes(rows: int, features: int, outputs: int) -> int:
    """Return the bytes that a batch's summary takes where it is stored, at most."""
    moments = outputs * features * len(Of) * 8
    sampled = rows // KEPT_RATIO + 2
    return moments + sampled * (features + Explanation.numbers_of(outputs, features)) * 4 + _HEADERS
