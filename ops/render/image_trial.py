"""The image as Render builds it, at work for a minute in 512 MB, on a disk of root's."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.container.box import MEMORY_MB, Box
from ops.container.engine import DockerError, docker, engine_fault
from ops.container.image import build
from ops.lab.load import Load
from ops.lab.memory import peak_of
from ops.lab.reference import example_rows
from ops.lab.rows import Form, Mixture, RowPool, planned_jobs
from ops.lab.trial_appliance import TrialError, free_ports
from ops.render.blueprint import Blueprint
from ops.run.plain_user import CAPABILITIES
from ops.verify.report import FailedError, NotCheckedError
from shared.models.catalog import ModelCatalog
from shared.settings import KEY_NAMES

#: The image's own name: a trial changes nothing of what `make up` runs.
TAG = "shapbox-preflight"
#: Seconds at work and for the last jobs, clients, and rows of each of their jobs.
SECONDS, LAST_JOBS_SECONDS, CLIENTS, JOB_ROWS = 60.0, 60.0, 4, 5000
#: Makes a volume look like a fresh disk: root's, and not empty.
ROOTS_DISK = "mkdir /data/lost+found && chown -R 0:0 /data"
#: MB of the working set at most: the soft mark of 512 MB.
MOST_MB = 475


def check_image(blueprint: Blueprint, root: Path, seconds: float = SECONDS) -> str:
    """Build the image and let it explain rows for so long.

    Raises FailedError, and NotCheckedError where no engine is there.
    """
    if fault := engine_fault():
        raise NotCheckedError(f"{fault}: neither built nor tried here.")
    try:
        # Render makes a build argument of each of the service's variables.
        build(TAG, blueprint.variables(blueprint.web_service))
        with _box() as box:
            return _try(box, root, seconds)
    except (DockerError, TrialError) as trouble:
        raise FailedError(str(trouble), "Mend what it says; make up runs the image here.") from trouble


@contextmanager
def _box() -> Iterator[Box]:
    """Make a container whose volume is root's, and remove both at the end."""
    name = f"{TAG}-{free_ports(1)[0]}"
    options = [f"--cap-add={capability}" for capability in CAPABILITIES]
    # Set, and not read from the disk: in this container root may not look into the plain user's folders.
    keys = {key: secrets.token_urlsafe() for key in KEY_NAMES}
    box = Box(name, free_ports(1)[0], name, keys, options, image=TAG)
    try:
        # An empty volume would be the engine's copy of the image's own /data, and its plain user's.
        docker("run", "--rm", "--user=0", "--entrypoint=sh", f"--volume={name}:/data", TAG, "-c", ROOTS_DISK)
        yield box
    finally:
        box.remove(with_data=True)


def _try(box: Box, root: Path, seconds: float) -> str:
    """Work the container; returns what was seen. Raises DockerError or TrialError."""
    versions = ModelCatalog.load(root / "models").versions()
    version = next((one for one in versions if one.examples_path is not None), None)
    if version is None:
        raise TrialError("No model has example rows to try it with: add one with --examples.")
    box.run()
    ready = box.await_ready()
    mixture = Mixture(((JOB_ROWS, JOB_ROWS, 1),), forms=(Form.NPY,))
    load = Load(box, {version.id: RowPool(version, example_rows(version, JOB_ROWS))})
    with peak_of(box.working_set_bytes) as peak:
        load.start([planned_jobs([version.id], mixture, f"trial-{client}") for client in range(CLIENTS)])
        time.sleep(seconds)
        load.finish(LAST_JOBS_SECONDS)
    faults = [str(finding) for finding in load.ledger.findings]
    if not 0 < peak.highest_mb < MOST_MB:
        faults.append(f"It took {peak.highest_mb:.0f} MB, and {MOST_MB} are its mark.")
    if kills := box.oom_kills():
        faults.append(f"The kernel has killed {kills} of its processes for memory.")
    if "exited: worker" in box.log():
        faults.append("A worker has ended.")
    stopped = box.stop()
    if code := box.state()["ExitCode"]:
        faults.append(f"It ended with {code} when it was stopped.")
    if faults:
        raise TrialError("\n".join([*faults, box.log_tail()]))
    return (
        f"built; ready in {ready:.1f} s; {load.ledger.counts['values_checked']:,} values exact in {seconds:.0f} s; peak "
        f"{peak.highest_mb:.0f} of {MEMORY_MB} MB; stopped in {stopped:.1f} s"
    )
