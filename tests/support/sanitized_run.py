"""Runs every kernel under the sanitizers, on rows of all kinds and altered models."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap.checks import find_fault
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.library import Kernel, Library
from shared.treeshap.table_file import read_tables

SIZES = (1, 5, 17, 255, 257)
#: Models altered at random for each file.
ALTERED = 120


def main(library: Library, folder: Path, *, checked: bool) -> int:
    chance = np.random.default_rng(0)
    explained = 0
    for path in sorted(folder.glob("*.shaptables")):
        compiled = read_tables(path, path.stem)
        rows = np.load(path.with_suffix(".npy"))
        rows[:3] = [[np.nan], [3e38], [-3e38]]
        if not checked:
            compiled = replace(compiled, columns=compiled.columns + 10_000_000)
        altered = [alter(compiled, chance) for _ in range(ALTERED)]
        sound = [one for one in altered if find_fault(one) is None]
        for kernel in library.kernels():
            for size in SIZES:
                explain(compiled, library, kernel, rows[:size].copy())
            for one in sound:
                explain(one, library, kernel, rows[:20].copy())
        explained += len(sound)
    sys.stdout.write(f"explained {explained} altered models\n")
    return 0


def explain(compiled: Compiled, library: Library, kernel: Kernel, rows: NDArray[np.float32]) -> None:
    values = Explainer(compiled, library, kernel).explain(rows)
    with contextlib.suppress(NotCoveredError):
        pairs = InteractionExplainer(compiled, library, kernel)
        pairs.matrices(rows, values)
        pairs.top(rows, 3)


def alter(compiled: Compiled, chance: np.random.Generator) -> Compiled:
    """Overwrite one record's field, or one number, with something else."""
    arrays = {name: array for name, array in compiled.arrays.items() if len(array)}
    name = str(chance.choice(list(arrays)))
    copy = arrays[name].copy()
    at = chance.integers(len(copy))
    part = copy if copy.dtype.names is None else copy[chance.choice(copy.dtype.names)]
    if np.issubdtype(part.dtype, np.floating):
        part[at] = chance.choice([0, 1e-45, -1, 1e30, np.nan, np.inf])
    else:
        limits = np.iinfo(part.dtype)
        part[at] = chance.choice([0, 1, 2, 3, limits.max, limits.min])
    changed: dict[str, Any] = {name: copy}
    return replace(compiled, **changed)


if __name__ == "__main__":
    sys.exit(main(Library(Path(sys.argv[1])), Path(sys.argv[2]), checked="--unchecked" not in sys.argv))
