"""The memory part: private pages of processes that share those of a large compiled model."""

from __future__ import annotations

import numpy as np
import psutil

from ops.lab.bench.models import QUICK_SHAPE, Shape, kept
from ops.lab.bench.report import Effort, Report
from ops.lab.bench.services import running_shapbox
from ops.lab.reference import EXACT, distance, reference_contributions
from shapbox import Shapbox

#: A model whose tables take some 36 MB, and the rows of the job after which memory is read.
LARGE, ROWS, QUICK_ROWS = Shape(6, 850, 30), 200_000, 1_000
#: Rows whose values are compared with XGBoost's.
COMPARED = 200


def measure_memory(effort: Effort) -> Report:
    """Start an appliance with that model alone, run a job, and measure workers and api."""
    shape, count = (QUICK_SHAPE, QUICK_ROWS) if effort.quick else (LARGE, ROWS)
    effort.say(f"memory beside {shape}")
    rows = np.resize(kept(shape)[1], (count, shape.features))
    with running_shapbox(shape) as (appliance, version):
        result = Shapbox(appliance.url, appliance.api_key).submit(rows, model=version.id).result()
        files = appliance.settings().compiled_dir.glob("*.shaptables")
        compiled = sum(path.stat().st_size for path in files) / 2**20
        pids = {f"worker {number}": pid for number, pid in enumerate(appliance.worker_pids(), 1)}
        pids["api"] = appliance.pids_of("services.api")[0]
        lines = []
        for name, pid in pids.items():
            memory = psutil.Process(pid).memory_full_info()
            lines.append([name, *(f"{size / 2**20:.0f}" for size in (memory.rss, memory.pss, memory.uss))])
        wanted = reference_contributions(version.model_path, rows[:COMPARED])[:, 0, :-1]
    apart = distance(np.asarray(result.values[:COMPARED], dtype=np.float32), wanted)
    about = f"{shape}: {compiled:.0f} MB compiled; after a job of {count:,} rows."
    summary = [
        f"MB of a worker beside {compiled:.0f} MB of compiled model, its own alone / resident",
        f"{lines[0][3]} / {lines[0][1]}",
        "",
    ]
    head = ["process", "resident, MB", "PSS, MB", "its own alone, MB"]
    wrong = [] if apart <= EXACT else [f"{shape}: {apart:.1e} apart"]
    return Report(head, lines, [summary], about, wrong)
