"""The private memory of hot processes that share the pages of a large compiled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.lab.bench.bodies import WRITERS
from ops.lab.bench.end_to_end import run_job
from ops.lab.bench.places import native, trained_models
from ops.lab.bench.tables import table
from ops.lab.bench.throughput import random_rows
from ops.lab.bench.trained import Shape
from ops.lab.trial_appliance import Appliance

#: A model whose tables take some 30 MB, and the rows of the job after which memory is read.
LARGE, ROWS = Shape(6, 850, 30), 200_000
#: How the rows go in and out.
MEDIA_TYPE = "application/x-npy"

#: The kernel's names for private pages, changed and unchanged.
_PRIVATE = (b"Private_Clean:", b"Private_Dirty:")


@dataclass(frozen=True, slots=True)
class SharedTables:
    """MB of the compiled files, and by process: mapped, its share of that, and private."""

    shape: Shape
    rows: int
    compiled: float
    processes: Mapping[str, tuple[float, float, float]]


def measure_shared_tables(shape: Shape = LARGE, rows: int = ROWS) -> SharedTables:
    """Start an appliance with that model alone, run a job, and measure workers and api."""
    with trained_models([shape]) as (models, versions), native(models, {}) as appliance:
        data = random_rows(shape, rows)
        version = versions[shape]
        run_job(appliance, version.id, MEDIA_TYPE, WRITERS[MEDIA_TYPE](version, data), rows)
        files = appliance.settings().compiled_dir.glob("*.shaptables")
        compiled = sum(path.stat().st_size for path in files) / 2**20
        return SharedTables(shape, rows, compiled, _processes(appliance))


def _processes(appliance: Appliance) -> dict[str, tuple[float, float, float]]:
    named = {f"worker {number}": pid for number, pid in enumerate(appliance.worker_pids(), 1)}
    named["api"] = appliance.pids_of("services.api")[0]
    return {name: _memory(pid) for name, pid in named.items()}


def _memory(pid: int) -> tuple[float, float, float]:
    """Return resident set, PSS and private pages in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    kib = {words[0]: int(words[1]) for words in map(bytes.split, lines) if len(words) == 3}
    private = sum(kib[name] for name in _PRIVATE)
    return kib[b"Rss:"] / 1024, kib[b"Pss:"] / 1024, private / 1024


def shared_table(found: SharedTables) -> str:
    """Return the table."""
    head = ["process", "resident, MB", "PSS, MB", "its own alone, MB"]
    lines: Sequence[Sequence[str]] = [
        [name, *(f"{each:.0f}" for each in sizes)] for name, sizes in found.processes.items()
    ]
    about = f"{found.shape}: {found.compiled:.0f} MB compiled; after a job of {found.rows:,} rows."
    return f"{about}\n\n{table(head, lines)}"
