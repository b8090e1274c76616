"""What is known without Redis: memory, disk, programs. A scrape only looks at what the loops measured."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.monitor.events.programs import Programs
from services.monitor.guard.guard import Guard
from services.monitor.metrics.families import gauge, gauges
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.storage_use import StorageUse


class MachineCollector(Collector):
    """The machine's share of the metrics."""

    def __init__(self, guard: Guard, storage: StorageUse, programs: Programs, pulse: Pulse) -> None:
        self._guard = guard
        self._storage = storage
        self._programs = programs
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Yield the families; what is not known (yet) is left out."""
        yield from self._memory()
        yield from self._disk()
        up: dict[tuple[str, ...], float] = {
            (name,): float(runs) for name, runs in self._programs.up().items()
        }
        yield gauges("program_up", "1 if supervisord has the program running, else 0.", ["program"], up)

    def _disk(self) -> Iterator[Metric]:
        if self._storage.used is not None:
            yield gauge("storage_bytes", "Bytes of all objects (rows and results).", self._storage.used)
        if (disk := self._pulse.disk) is not None:
            yield gauge("storage_free_bytes", "Bytes that the disk under DATA_DIR has left.", disk.free)
            yield gauge("storage_capacity_bytes", "Bytes that the disk under DATA_DIR holds.", disk.capacity)

    def _memory(self) -> Iterator[Metric]:
        state = self._guard.state
        if state is None:
            return
        yield from self._memory_limits()
        yield gauge(
            "memory_working_set_bytes",
            "Bytes that the appliance is charged, less what the kernel can drop.",
            state.working_set,
        )
        sizes: dict[tuple[str, ...], float] = {
            (name,): size for name, size in state.processes.by_program.items()
        }
        yield gauges(
            "process_memory_bytes", "PSS of each program, its children included.", ["process"], sizes
        )

    def _memory_limits(self) -> Iterator[Metric]:
        marks, container = self._guard.marks, self._guard.container_limit
        yield gauge(
            "memory_limit_bytes",
            "Bytes at which the largest worker is recycled (MEMORY_LIMIT_MB).",
            marks.soft,
        )
        if container is not None:
            yield gauge(
                "memory_container_limit_bytes",
                "Bytes at which the kernel kills; absent if the container has no limit of its own.",
                container,
            )
        if marks.worker:
            yield gauge(
                "worker_memory_limit_bytes",
                "Bytes beyond which a worker leaves after its batch (WORKER_MEMORY_LIMIT_MB).",
                marks.worker,
            )
