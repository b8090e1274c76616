"""The image as Render builds it, at work for a minute in 512 MB, on a disk of root's."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.container.box import MEMORY_MB, Box
from ops.container.engine import DockerError, docker, engine_fault
from ops.container.image import build
from ops.container.load import Load, ProofError
from ops.container.peak import Peak, peak_of
from ops.lab.measure.appliance import example_rows
from ops.lab.trial_appliance import free_ports
from ops.render.blueprint import Blueprint
from ops.render.preflight.finding import Finding
from ops.run.plain_user import CAPABILITIES
from shared.models.catalog import ModelCatalog
from shared.settings import KEY_NAMES

#: The image's own name: a trial changes nothing of what `make up` runs.
TAG = "shapbox-preflight"
#: Clients at work, and rows of each of their jobs.
CLIENTS, JOB_ROWS = 4, 5000
#: Makes a volume look like a fresh disk: root's, and not empty.
ROOTS_DISK = "mkdir /data/lost+found && chown -R 0:0 /data"
#: MB of the working set at most: the soft mark of 512 MB.
MOST_MB = 475


def check_image(blueprint: Blueprint, root: Path, seconds: float) -> Finding:
    """Build the image and let it explain rows for so long; skipped where no engine is there."""
    if fault := engine_fault():
        return Finding.skipped("image", f"{fault}: neither built nor tried here")
    try:
        build(TAG, _build_arguments(blueprint))
        with _box() as box:
            return Finding.passed("image", _try(box, root, seconds))
    except (DockerError, ProofError) as trouble:
        return Finding.failed("image", str(trouble), "Mend what it says; make up runs the image here.")


def _build_arguments(blueprint: Blueprint) -> Mapping[str, str]:
    """Return the build arguments: Render makes one of each of the service's variables."""
    service = blueprint.services.get(blueprint.web_service or "", {})
    return {
        str(item["key"]): str(item["value"])
        for item in service.get("envVars") or []
        if isinstance(item, dict) and "value" in item and "key" in item
    }


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
    """Work the container; returns what was seen. Raises DockerError or ProofError."""
    versions = ModelCatalog.load(root / "models").versions()
    version = next((one for one in versions if one.examples_path is not None), None)
    if version is None:
        raise ProofError("No model has example rows to try it with: add one with --examples.")
    box.run()
    ready = box.await_ready()
    load = Load(box, version, example_rows(version, JOB_ROWS))
    load.start(CLIENTS)
    with peak_of(box) as peak:
        time.sleep(seconds)
        load.stop()
    _judge(box, peak)
    stopped = box.stop()
    if box.state()["ExitCode"] != 0:
        raise ProofError(f"It ended with {box.state()['ExitCode']} when it was stopped:\n{box.log_tail()}")
    return (
        f"built; ready in {ready:.1f} s; {load.jobs} jobs of {JOB_ROWS} rows in {seconds:.0f} s, values "
        f"{load.largest_difference:.0e} apart; peak {peak.highest_mb:.0f} of {MEMORY_MB} MB; stopped in {stopped:.1f} s"
    )


def _judge(box: Box, peak: Peak) -> None:
    if not 0 < peak.highest_mb < MOST_MB:
        raise ProofError(f"It took {peak.highest_mb:.0f} MB, and {MOST_MB} are its mark.")
    if kills := box.oom_kills():
        raise ProofError(f"The kernel has killed {kills} of its processes for memory.")
    if "exited: worker" in box.log():
        raise ProofError(f"A worker has ended:\n{box.log_tail()}")
