"""Predictions that users mistake for margins: results of `predict` and `predict_proba`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shared.models.contract import Link

type _Matrix = NDArray[np.float32]


def predictions_of(margins: _Matrix, link: Link) -> Iterator[tuple[str, _Matrix]]:
    """Give each kind of prediction that these margins make, rows x columns, with a name for it."""
    wide = margins.astype(np.float64)
    if link is Link.SIGMOID:
        positive = 1 / (1 + np.exp(-wide))
        yield "probabilities", positive.astype(np.float32)
        if wide.shape[1] == 1:
            yield "probabilities of both classes", np.hstack([1 - positive, positive]).astype(np.float32)
        yield "classes", (wide > 0).astype(np.float32)
    elif link in {Link.SOFTMAX, Link.ARGMAX}:
        shares = np.exp(wide - wide.max(axis=1, keepdims=True))
        yield "probabilities", (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        yield "classes", wide.argmax(axis=1).reshape(-1, 1).astype(np.float32)
    elif link is Link.EXP:
        yield "predictions", np.exp(wide).astype(np.float32)
    elif link is Link.STEP:
        yield "classes", (wide > 0).astype(np.float32)
