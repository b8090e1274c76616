"""Interventional values against background rows, next to shap, shapiq and woodelf."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.lab.bench.cells import Cell, Found, Way, fill_cells
from ops.lab.bench.cores import one_core
from ops.lab.bench.engine_report import cell_text
from ops.lab.bench.engines import PEER_NAMES, timed
from ops.lab.bench.peer_engine import PeerEngine, PeerError, peer_engines
from ops.lab.bench.peer_environments import peer_python
from ops.lab.bench.tables import count, short, table
from ops.lab.bench.trained import Shape, kept
from ops.lab.reference import EXACT, distance
from shared.engines.lean_xgboost import THREADS
from shared.models.activation.compilation import compile_booster
from shared.treeshap.explainer import Explainer
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library

#: Whose values ours are compared with, and the rows that are.
TRUTH, COMPARED = "shap", 5
#: Seconds that a library may take for a call.
PATIENCE = 20.0

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models, background rows and rows, and the seconds for each line."""

    shapes: Sequence[Shape] = (Shape(3, 100, 30), Shape(6, 100, 30))
    backgrounds: Sequence[int] = (100, 10_000)
    rows: Sequence[int] = (1, 500)
    line_seconds: float = 6.0
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One model, background and number of rows: each way's cell, and its distance from shap."""

    shape: Shape
    background: int
    rows: int
    made_seconds: float
    cells: Mapping[str, Found]
    apart: Mapping[str, float]


def measure_against_background(plan: Plan, library: Library, say: Callable[[str], None]) -> Iterator[Line]:
    """Measure line by line."""
    python = peer_python("engines") if plan.peers else None
    for shape in plan.shapes:
        booster, rows = kept(shape)
        booster.set_param({"nthread": THREADS})
        for size in plan.backgrounds:
            say(f"{shape}, {size:,} background rows")
            explained = rows[-max(COMPARED, *plan.rows) :]
            model = _Model(shape, booster, rows[:size], explained)
            with one_core(), peer_engines(PEER_NAMES, python) as peers:
                yield from _lines(plan, model, library, peers)


@dataclass(frozen=True, slots=True)
class _Model:
    shape: Shape
    booster: Any
    background: Matrix
    rows: Matrix


def _lines(plan: Plan, model: _Model, library: Library, peers: Sequence[PeerEngine]) -> Iterator[Line]:
    compiled = compile_booster(model.booster)
    began = time.perf_counter()
    twin = against_background(compiled, model.background)
    made = time.perf_counter() - began
    ours = {kernel.engine: Explainer(twin, library, kernel) for kernel in library.kernels()}
    values, lost = _load(peers, model)
    values |= {name: each.explain(model.rows[:COMPARED]).values[:, 0] for name, each in ours.items()}
    truth = values.get(TRUTH)
    apart = {name: distance(found, truth) for name, found in values.items()} if truth is not None else {}
    ways: dict[str, Way] = {name: timed(each.explain, model.rows) for name, each in ours.items()}
    ways |= {peer.name: partial(peer.seconds, patience=PATIENCE) for peer in peers if peer.name not in lost}
    for rows in plan.rows:
        able = {name: way for name, way in ways.items() if name not in lost}
        cells = fill_cells(able, rows, plan.line_seconds)
        lost |= {name: cell for name, cell in cells.items() if isinstance(cell, str)}
        yield Line(model.shape, len(model.background), rows, made, {**cells, **lost}, apart)


def _load(peers: Sequence[PeerEngine], model: _Model) -> tuple[dict[str, Matrix], dict[str, str]]:
    """Have the peers load model and background; return the values, or why a peer could not."""
    values: dict[str, Matrix] = {}
    lost: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        paths = [Path(folder, name) for name in ("model.ubj", "rows.npy", "background.npy")]
        model.booster.save_model(paths[0])
        np.save(paths[1], model.rows)
        np.save(paths[2], model.background)
        for peer in peers:
            try:
                peer.load(*paths)
                values[peer.name] = peer.values(COMPARED, PATIENCE).astype(np.float32)
            except PeerError as fault:
                lost[peer.name] = str(fault)
    return values, lost


def background_table(lines: Sequence[Line]) -> str:
    """Return the table."""
    ours = [name for name in lines[0].cells if name.startswith("compiled-")]
    head = [
        "model",
        "background",
        "rows",
        "tables made in",
        *ours,
        *PEER_NAMES,
        f"{ours[0]} to shap",
        "ours apart",
        "others apart",
    ]
    return table(head, [_cells(line, ours) for line in lines])


def wrong_values(lines: Sequence[Line]) -> list[str]:
    """Return where our values are not shap's, in words."""
    return sorted(
        {
            f"{line.shape}, {line.background} background rows, {name}: {apart:.1e} apart"
            for line in lines
            for name, apart in line.apart.items()
            if name.startswith("compiled-") and not apart <= EXACT
        }
    )


def _cells(line: Line, ours: Sequence[str]) -> list[str]:
    own, theirs = line.cells[ours[0]], line.cells.get(TRUTH)
    times = theirs.median / own.median if isinstance(own, Cell) and isinstance(theirs, Cell) else None
    groups = (ours, [name for name in PEER_NAMES if name != TRUTH])
    apart = [[line.apart[name] for name in names if name in line.apart] for names in groups]
    return [
        str(line.shape),
        count(line.background),
        count(line.rows),
        f"{line.made_seconds:.1f} s",
        *(cell_text(line.cells.get(name), line.rows) for name in (*ours, *PEER_NAMES)),
        f"**x {short(times)}**" if times else "?",
        *(f"{max(each):.0e}" if each else "" for each in apart),
    ]
