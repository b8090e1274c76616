"""Finds the number of boosting rounds that gives the owner's margins."""

from __future__ import annotations

from collections.abc import Sequence

from shared.models.activation.inspection import ModelInspection

#: Numbers of rounds that are tried at most.
MOST_ROUNDS = 300
#: Rows that they are tried on.
SEARCH_ROWS = 50
#: How far around best_iteration numbers come first, and what else they are likely to be multiples of.
_NEAR, _ROUND = 5, (1000, 500, 100, 50, 25, 10, 5)


def rounds_to_try(inspection: ModelInspection) -> list[int]:
    """Return every number of rounds; of many the likeliest: near best_iteration, or round."""
    numbers = range(1, inspection.rounds + 1)
    best = inspection.best_iteration

    def unlikeliness(number: int) -> tuple[bool, int]:
        rank = next((rank for rank, step in enumerate(_ROUND) if number % step == 0), len(_ROUND))
        return best is None or abs(number - best - 1) > _NEAR, rank

    return sorted(sorted(numbers, key=unlikeliness)[:MOST_ROUNDS])


def rounds_tried(tried: Sequence[int], total: int) -> str:
    """Say which numbers of rounds were tried."""
    if not tried:
        return ""
    if len(tried) == total:
        return f"every number of rounds from 1 to {total} (--trees), "
    return f"{len(tried)} of the {total:,} numbers of rounds (--trees; the roundest, and those near best_iteration), "
