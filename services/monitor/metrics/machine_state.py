"""What is known without Redis: memory, disk, programs. A scrape only looks at what the loops measured."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from services.monitor.events.programs import Programs
from services.monitor.guard.guard import Guard
from services.monitor.metrics.families import family
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics


class MachineCollector(Collector):
    """The machine's share of the metrics."""

    def __init__(self, guard: Guard, storage: StorageUse, programs: Programs, pulse: Pulse) -> None:
        self._guard = guard
        self._storage = storage
        self._programs = programs
        self._pulse = pulse

    def collect(self) -> Iterator[Family]:
        """Yield the families; what is not known (yet) is left out."""
        yield from self._memory()
        yield from self._disk()
        up = {(name,): float(runs) for name, runs in self._programs.up().items()}
        yield family(metrics.PROGRAM_UP, up)

    def _disk(self) -> Iterator[Family]:
        if self._storage.used is not None:
            yield family(metrics.STORAGE_BYTES, self._storage.used)
        if (disk := self._pulse.disk) is not None:
            yield family(metrics.STORAGE_FREE_BYTES, disk.bytes)
            yield family(metrics.STORAGE_CAPACITY, disk.capacity_bytes)
            if disk.inodes is not None:
                yield family(metrics.STORAGE_FREE_INODES, disk.inodes)

    def _memory(self) -> Iterator[Family]:
        state = self._guard.state
        if state is None:
            return
        marks, container = self._guard.marks, self._guard.container_limit
        yield family(metrics.MEMORY_LIMIT, marks.soft)
        if container is not None:
            yield family(metrics.MEMORY_CONTAINER_LIMIT, container)
        if marks.worker:
            yield family(metrics.WORKER_MEMORY_LIMIT, marks.worker)
        yield family(metrics.MEMORY_WORKING_SET, state.working_set)
        sizes = {(name,): float(size) for name, size in state.processes.by_program.items()}
        yield family(metrics.PROCESS_MEMORY, sizes)
