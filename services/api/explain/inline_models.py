"""The direct lane: small requests are explained here, in the api's own process, from the tables that the workers map, too.

With a compiled model the values of a row cost less than its way through the queue. Nothing is promised that could be
lost: whoever is answered has the values, and who is not may ask again. What the lane does not take goes to the workers:
models that are not compiled, methods that need other engines, and requests of more rows than are explained in a moment.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.cgroup import usable_processors
from shared.engines.compiled_engine import CompiledEngine, tables_path
from shared.explanation import Explanation
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: Rows that are explained in one go, at most: one block of the kernels.
MOST_ROWS = 256
#: Numbers of their values, at most.
MOST_NUMBERS = 131_072
#: Seconds that explaining them may take, at most: others want the processor, too.
MOST_SECONDS = 0.02
#: Calls that are measured, of which the quickest counts: the first one reads the tables' pages.
TRIALS = 4
#: The share of MEMORY_LIMIT_MB that the mapped tables of all models may take.
MEMORY_SHARE = 0.25
#: Bytes of a body that may hold so few rows; a larger one is read by the way that holds no rows in memory.
MOST_BODY = 256 * 1024

_log = logging.getLogger("shapbox.direct")

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DirectModel:
    """A compiled model, and how many rows of it are explained at once."""

    engine: CompiledEngine
    rows: int

    @classmethod
    def of(cls, version: ModelVersion, engine: CompiledEngine) -> DirectModel:
        """Measure what a block of rows takes here: what they hold makes no difference."""
        rows = np.zeros((MOST_ROWS, len(version.features)), dtype=np.float32)
        block = min(_processor_seconds(engine, rows) for _ in range(TRIALS))
        in_time = int(MOST_SECONDS * MOST_ROWS / max(block, 1e-6))
        in_memory = MOST_NUMBERS // Explanation.numbers_of(len(version.outputs), len(version.features))
        return cls(engine, min(MOST_ROWS, in_time, in_memory))


def _processor_seconds(engine: CompiledEngine, rows: Matrix) -> float:
    """Return what this thread alone needs: at the start of an appliance all programs want the processors."""
    started = time.thread_time()
    engine.explain(rows)
    return time.thread_time() - started


class DirectLane:
    """The compiled models that this process has mapped. Any thread may call anything."""

    def __init__(self, catalog: ModelCatalog, settings: Settings, at_once: int | None = None) -> None:
        """No model is open yet. `at_once`: requests that are explained at a time."""
        self._catalog = catalog
        self._folder = settings.compiled_dir
        self._room = int(settings.memory_limit_mb * MEMORY_SHARE * 2**20)
        self._models: dict[tuple[str, Method], DirectModel] = {}
        self._places = threading.Semaphore(at_once or usable_processors())

    def start(self) -> None:
        """Open in the background: until that is done everything goes to the workers."""
        threading.Thread(target=self.open, name="direct lane", daemon=True).start()

    def open(self) -> None:
        """Map the compiled models that fit the memory share, newest versions first. The others stay the workers'."""
        latest = self._catalog.latest()
        older = [version for version in self._catalog.versions() if version not in latest]
        for version, method in itertools.product((*latest, *older), Method):
            try:
                self._open(version, method)
            except Exception:  # noqa: BLE001  # one model's trouble is no other's
                _log.exception("a compiled model is left to the workers", extra={"model": version.id})

    def _open(self, version: ModelVersion, method: Method) -> None:
        path = tables_path(version, method, self._folder)
        size = path.stat().st_size if path is not None and path.exists() else 0
        if size > self._room:
            _log.info("a compiled model is left to the workers: no room", extra={"model": version.id})
            return
        engine = CompiledEngine.find(version, self._folder, method)
        if engine is not None:
            self._room -= size
            self._models[version.id, method] = DirectModel.of(version, engine)

    def model(self, version: ModelVersion, method: Method) -> DirectModel | None:
        """Return what explains a model by a method here; None if the workers must."""
        return self._models.get((version.id, method))

    def explain(self, model: DirectModel, rows: Matrix) -> Explanation:
        """Explain rows, or wait for a processor to do so.

        The kernels let go of Python's lock: without a bound all of the server's threads would compute at a time, none of them sooner
        than one after the other, and leave the workers' batches next to nothing of the processors.
        """
        with self._places:
            return model.engine.explain(rows)
