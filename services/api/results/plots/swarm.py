"""Where the dots of a swarm go, so that they lie beside each other and not on each other.

As in shap.plots.beeswarm: dots whose values fall into the same of 100 bins are stacked, in turn above and below the
line; which of them comes first is left to chance, here the same chance each time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Bins that a line's values are counted into.
BINS = 100
#: The share of a line's height that the fullest bin takes.
HEIGHT = 0.9 * 0.4


def swarm_offsets(values: NDArray[np.float64], shuffled: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far from its line's middle each dot lies, in shares of the line's height, at most HEIGHT.

    `values` has shape (dots,); `shuffled` is a random order of them.
    """
    least = values.min()
    bins = np.round(BINS * (values - least) / (values.max() - least + 1e-8)).astype(np.int64)
    order = shuffled[np.argsort(bins[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=BINS + 1))[:-1]])
    layers = np.empty(len(values), dtype=np.int64)
    layers[order] = np.arange(len(values)) - starts[bins[order]]
    offsets = np.ceil(layers / 2) * (layers % 2 * 2 - 1)
    scaled: NDArray[np.float64] = offsets * (HEIGHT / (offsets.max() + 1))
    return scaled
