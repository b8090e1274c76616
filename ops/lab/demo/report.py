"""The demo's output: a progress bar, and the features by their weight."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

#: Characters of a whole bar.
BAR_WIDTH = 40
#: How many features the table shows.
MOST_FEATURES = 15


class ProgressBar:
    """A line, rewritten on a terminal; otherwise one line at each quarter."""

    def __init__(self) -> None:
        self._quarter = -1

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` batches are done."""
        share = done / total if total else 1.0
        text = f"  [{bar(share)}] {done} of {total} batches"
        if sys.stdout.isatty():
            end = "\n" if done >= total and self._quarter < 4 else ""
            sys.stdout.write(f"\r{text}{end}")
        elif int(share * 4) > self._quarter:
            sys.stdout.write(f"{text}\n")
        self._quarter = max(self._quarter, int(share * 4))
        sys.stdout.flush()


def bar(share: float) -> str:
    """Draw a share of 1 as a bar."""
    filled = round(max(0.0, min(1.0, share)) * BAR_WIDTH)
    return "█" * filled + "·" * (BAR_WIDTH - filled)


def ranking(values: NDArray[np.float32], features: list[str]) -> list[tuple[str, float]]:
    """Order the features by mean |SHAP|; `values` is rows x outputs x (features + 1)."""
    means = np.abs(values[:, :, :-1]).mean(axis=(0, 1))
    return [(features[index], float(means[index])) for index in np.argsort(-means, kind="stable")]


def table(ranked: list[tuple[str, float]]) -> str:
    """Write the ranking as a table of bars."""
    shown = ranked[:MOST_FEATURES]
    longest = max(len(name) for name, _ in shown)
    largest = max(shown[0][1], 1e-30)
    lines = [f"  {name:<{longest}}  {mean:9.4f}  {bar(mean / largest).rstrip('·')}" for name, mean in shown]
    if len(ranked) > len(shown):
        lines.append(f"  … and {len(ranked) - len(shown)} more")
    return "\n".join(lines)
