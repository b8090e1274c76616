"""The compiled engine next to XGBoost, shap, shapiq and woodelf, turn by turn on one core."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.lab.bench.cells import Found, Way, fill_cells
from ops.lab.bench.cores import one_core
from ops.lab.bench.peer_engine import PeerEngine, PeerError, peer_engines
from ops.lab.bench.peer_environments import peer_python
from ops.lab.bench.trained import Shape, kept
from ops.lab.reference import distance
from shared.engines.lean_xgboost import THREADS
from shared.engines.xgboost_engine import XGBoostEngine
from shared.models.activation.compilation import compile_booster
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import Library

#: XGBoost's contributions and its predictions, as the table calls them.
CONTRIBUTIONS, PREDICTIONS = "pred_contribs", "predict"
#: The other libraries.
PEER_NAMES = ["shap", "shapiq", "woodelf"]
#: Rows whose values are compared.
COMPARED = 20
#: Seconds that a library may take for a call before it is given up, at least, and as a share of a line's time.
PATIENCE, PATIENCE_SHARE = 2.0, 1.0
#: The part of the time that goes into turns: the rest is training, loading, and finding out how many rows fit.
MEASURED_SHARE = 0.45

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models, how many rows, and the seconds for all of it but training."""

    depths: Sequence[int] = (3, 4, 6, 8, 10)
    trees: Sequence[int] = (100, 500)
    features: Sequence[int] = (30, 200)
    rows: Sequence[int] = (1, 500, 100_000)
    seconds: float = 720.0
    #: Seconds for the turns of each line at least, even if the sum exceeds the total.
    least_seconds: float = 2.0
    peers: bool = True

    def shapes(self) -> list[Shape]:
        """Return the models in the table's order."""
        return [Shape(*each) for each in itertools.product(self.depths, self.trees, self.features)]


@dataclass(frozen=True, slots=True)
class Line:
    """One model and number of rows: each way's cell, and the largest difference from XGBoost."""

    shape: Shape
    rows: int
    cells: Mapping[str, Found]
    apart: Mapping[str, float]


def measure_engines(plan: Plan, library: Library, say: Callable[[str], None]) -> Iterator[Line]:
    """Measure line by line; `say` is told what is under way."""
    python = peer_python("engines") if plan.peers else None
    shapes = plan.shapes()
    for number, shape in enumerate(shapes):
        say(f"{shape} ({number + 1} of {len(shapes)}): training, unless it was")
        kept(shape)
    end = time.monotonic() + plan.seconds
    for number, shape in enumerate(shapes):
        booster, rows = kept(shape)
        booster.set_param({"nthread": THREADS})
        rows = _as_many(rows, max(plan.rows))
        # The time that one model took too long is subtracted from the others, down to a useful minimum.
        left = (end - time.monotonic()) / (len(shapes) - number) / len(plan.rows)
        model = _Model(shape, booster, rows, max(plan.least_seconds, left * MEASURED_SHARE))
        with one_core(), peer_engines(PEER_NAMES, python) as peers:
            yield from _lines(plan, model, library, peers, say)


def _as_many(rows: Matrix, count: int) -> Matrix:
    """Return so many different rows: those there are, over and over, moved a little each time."""
    times = -(-count // len(rows))
    return np.concatenate([rows + np.float32(0.001 * i) for i in range(times)])[:count]


@dataclass(frozen=True, slots=True)
class _Model:
    shape: Shape
    booster: Any
    rows: Matrix
    #: Of each line.
    seconds: float


def _lines(
    plan: Plan, model: _Model, library: Library, peers: Sequence[PeerEngine], say: Callable[[str], None]
) -> Iterator[Line]:
    compiled = compile_booster(model.booster)
    xgboost = XGBoostEngine(model.booster, compiled.outputs)
    ours = {kernel.engine: Explainer(compiled, library, kernel) for kernel in library.kernels()}
    patience = max(PATIENCE, model.seconds * PATIENCE_SHARE)
    wanted = xgboost.contributions(model.rows[:COMPARED])
    apart = {
        name: distance(each.explain(model.rows[:COMPARED]).contributions, wanted)
        for name, each in ours.items()
    }
    with _loaded(peers, model, patience) as (able, lost):
        apart |= _peers_apart(able, lost, wanted[:, 0, :-1], patience)
        ways: dict[str, Way] = {
            CONTRIBUTIONS: timed(xgboost.contributions, model.rows),
            PREDICTIONS: timed(xgboost.margins, model.rows),
            **{name: timed(each.explain, model.rows) for name, each in ours.items()},
            **{name: _peer_way(peer, patience) for name, peer in able.items() if name not in lost},
        }
        for rows in plan.rows:
            say(f"{model.shape}: {rows:,} rows a call")
            cells = fill_cells(
                {name: way for name, way in ways.items() if name not in lost}, rows, model.seconds
            )
            # One that was given up is not waited for again.
            lost |= {name: cell for name, cell in cells.items() if isinstance(cell, str)}
            yield Line(model.shape, rows, {**cells, **lost}, apart)


@contextmanager
def _loaded(
    peers: Sequence[PeerEngine], model: _Model, patience: float
) -> Iterator[tuple[dict[str, PeerEngine], dict[str, str]]]:
    """Have the peers load the model; give those that could, and why the others could not."""
    able, lost = {}, {}
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        path, rows = Path(folder) / "model.ubj", Path(folder) / "rows.npy"
        model.booster.save_model(path)
        np.save(rows, model.rows)
        for peer in peers:
            try:
                peer.load(path, rows)
                peer.seconds(1, patience)
                able[peer.name] = peer
            except PeerError as fault:
                lost[peer.name] = str(fault)
        yield able, lost


def _peers_apart(
    peers: Mapping[str, PeerEngine], lost: dict[str, str], wanted: Matrix, patience: float
) -> dict[str, float]:
    """Return how far each peer's values are from XGBoost's, and note who did not get that far."""
    apart = {}
    for name, peer in peers.items():
        try:
            values = peer.values(len(wanted), patience)
        except PeerError as fault:
            lost[name] = str(fault)
            continue
        apart[name] = distance(values.astype(np.float32), wanted)
    return apart


def timed(explain: Callable[[Matrix], object], rows: Matrix) -> Way:
    """Return what explains the first so many of these rows and tells how long that took."""

    def way(count: int) -> float:
        given = rows[:count]
        began = time.perf_counter()
        explain(given)
        return time.perf_counter() - began

    return way


def _peer_way(peer: PeerEngine, patience: float) -> Way:
    return lambda count: peer.seconds(count, patience)
