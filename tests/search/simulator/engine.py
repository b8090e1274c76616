"""The simulated engine: known values; it is slow, fails or kills as its rows say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from shared.explanation import Explanation, Matrix, join_parts
from tests.search.simulator.world import running_world

MODEL = "simulated@1"
BASE = 0.5


class Ailment(Enum):
    """A fault of a body's rows."""

    NONE = "none"
    #: Its worker dies each time.
    POISON = "poison"
    #: The engine raises an exception, or its sums are off.
    FAULT = "fault"
    #: The batch needs more memory than a worker may use, each time.
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Work:
    """How the engine explains the rows of a body."""

    seconds: float
    ailment: Ailment = Ailment.NONE
    #: Whether it holds the GIL, so that no heartbeats are sent meanwhile.
    holds_gil: bool = False


class SimulatedEngine:
    """Explains one feature x of one output: value 2x, base value 0.5."""

    def __init__(self, works: Mapping[int, Work], rows_at_once: int | None) -> None:
        self._works = works
        self.rows_at_once = rows_at_once

    def explain(self, rows: Matrix) -> Explanation:
        """Take the time that the rows' body asks for, then explain them or not."""
        world = running_world()
        process, work = world.task.process, self._works[body_of(rows)]
        seconds = work.seconds * world.rng.uniform(0.5, 1.5)
        world.say(f"explains for {seconds:.2f} s")
        if work.holds_gil:
            process.native_until = world.now + seconds
        world.wait(seconds)
        if work.ailment is Ailment.POISON:
            world.exit(process, None)
        if work.ailment is Ailment.MEMORY:
            raise MemoryError
        if work.ailment is Ailment.FAULT:
            raise RuntimeError("the simulated engine fails")
        return expected(rows)


def expected(rows: Matrix) -> Explanation:
    """Return the explanation of rows (rows, 1)."""
    values = 2 * rows[:, None, :]
    base_values = np.full(values.shape[:2], BASE, np.float32)
    return Explanation(join_parts(values, base_values, values[:, :, 0] + base_values))


def rows_of(body: int, count: int) -> Matrix:
    """Return the rows of a body: no two in a history are equal."""
    return (body * 1000 + np.arange(count, dtype=np.float32)).reshape(-1, 1)


def body_of(rows: Matrix) -> int:
    """Return the body that rows are from."""
    return int(rows[0, 0]) // 1000


class SimulatedModels:
    """services.worker.models.WarmModels with the simulated engine."""

    def __init__(self, works: Mapping[int, Work], rows_at_once: int | None) -> None:
        engine = SimulatedEngine(works, rows_at_once)
        version = SimpleNamespace(id=MODEL, method_record=lambda _method: SimpleNamespace(engine="simulated"))
        self._model = SimpleNamespace(version=version, engine=lambda _method: engine)

    def get(self, model_id: str) -> Any:
        """Return the one model."""
        assert model_id == MODEL
        return self._model

    def warm_up(self) -> None:
        """Need no time."""
