"""A result of given numbers, in blocks of some rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from services.api.results.result import Result
from shared.explanation import Explanation


def make_result(
    numbers: Any,
    features: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    block_rows: int = 3,
    times: int = 1,
) -> Result:
    """`numbers` are rows x outputs x (features + 2), repeated so many times."""
    explanation = Explanation(np.asarray(numbers, dtype=np.float32))

    def explanations() -> Iterator[Explanation]:
        for _ in range(times):
            for start in range(0, len(explanation), block_rows):
                yield explanation[start : start + block_rows]

    return Result(
        job_id="j1",
        model='m"@1',
        method="tree_path_dependent",
        feature_names=features or [f"f{number}" for number in range(explanation.values.shape[2])],
        output_names=outputs or [f"o{number}" for number in range(explanation.outputs)],
        rows=len(explanation) * times,
        explanations=explanations,
    )
