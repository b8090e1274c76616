"""Decides which boosting rounds count, and says why."""

from __future__ import annotations

from ops.models.options import TreesChoice
from shared.errors import ModelFaultError
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import Trees, TreesReason

_BEST = "best_iteration"


def choose_trees(inspection: ModelInspection, choice: TreesChoice | None) -> Trees:
    """Return the rounds that count; raises ModelFaultError if choice and file do not fit."""
    total, best = inspection.rounds, inspection.best_iteration
    if inspection.booster == "gblinear":
        if choice not in {None, "all"}:
            raise ModelFaultError(
                f"--trees {choice} does not fit: a linear model (gblinear) has weights instead of trees, and its rounds cannot be "
                "separated. Leave --trees out."
            )
        return Trees(0, 0)
    if choice == "all":
        return Trees(total, total)
    if isinstance(choice, int):
        if choice > total:
            raise ModelFaultError(f"--trees {choice} is too many: the file has {total} rounds.")
        return Trees(choice, total, TreesReason.CHOSEN)
    if best is not None:
        return Trees(best + 1, total, TreesReason.BEST_ITERATION)
    if _BEST in inspection.attributes:
        raise ModelFaultError(
            f"The file's best_iteration is {inspection.attributes[_BEST]!r}, and the file has {total} rounds: model.predict cannot "
            "use it. Say which rounds count: --trees all, or --trees N."
        )
    if choice == "best":
        raise ModelFaultError(
            f"--trees best does not fit: the file has no best_iteration, so model.predict uses all {total} rounds. "
            "Leave --trees out, or give --trees N."
        )
    return Trees(total, total)


def explain_trees(inspection: ModelInspection, trees: Trees) -> str:
    """Say in a line which rounds count and why."""
    if inspection.booster == "gblinear":
        return "none: a linear model (gblinear) has weights instead"
    if not trees.total:
        return "none: the model was trained for 0 rounds"
    counted = f"{trees.used} of {trees.total} rounds"
    if trees.reason is TreesReason.BEST_ITERATION:
        return f"{counted}: best_iteration, as model.predict uses them; --trees all for all"
    if trees.reason is TreesReason.CHOSEN:
        return f"{counted}: as --trees says"
    if inspection.best_iteration is not None:
        return f"{counted}: as --trees all says; model.predict uses {inspection.best_iteration + 1} (best_iteration)"
    return f"{counted}: all"
