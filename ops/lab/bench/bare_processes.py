"""The peer of a whole service: bare XGBoost processes, one per core, with rows in memory.

No HTTP, no queue, no store: nothing but `Booster.predict(pred_contribs=True)`, one thread each.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.lab.reference import bare_explainer

#: Processes: one for each core of the machine that the figures are made for.
PROCESSES = 2
#: Rows that each explains before any are counted.
WARM_UP = 50

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BareProcesses:
    """The processes, which wait with the model loaded and their rows in memory."""

    pipes: list[Connection]
    rows: int

    def rows_a_second(self) -> float:
        """Let all of them explain their rows at the same time, once."""
        began = time.perf_counter()
        for pipe in self.pipes:
            pipe.send("explain")
        for pipe in self.pipes:
            pipe.recv()
        return self.rows / (time.perf_counter() - began)


@contextmanager
def bare_processes(model: Path, rows: Matrix) -> Iterator[BareProcesses]:
    """Start them, and end them with the block."""
    context = multiprocessing.get_context("spawn")  # OpenMP does not outlive a fork
    pipes, processes = [], []
    for share in np.array_split(rows, PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=_explain_when_told, args=(theirs, model, share), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            pipe.recv()
        yield BareProcesses(pipes, len(rows))
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _explain_when_told(pipe: Connection, model: Path, rows: Matrix) -> None:
    explain = bare_explainer(model)
    explain(rows[:WARM_UP])
    pipe.send("ready")
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        explain(rows)
        pipe.send("done")
