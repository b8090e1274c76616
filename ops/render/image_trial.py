"""The image as Render builds it, verified in 512 MB on a disk that belongs to root."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.container.box import Box
from ops.container.engine import DockerError, docker, engine_fault
from ops.container.image import build
from ops.lab.trial_appliance import free_ports
from ops.render.blueprint import Blueprint
from ops.run.plain_user import CAPABILITIES
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions
from shared.settings import KEY_NAMES

#: The image's own name: a trial changes nothing of what `make up` runs.
TAG = "shapbox-preflight"
#: Seconds at work, after all other checks.
SECONDS = 30.0
#: Makes a volume look like a fresh disk: root's, and not empty.
ROOTS_DISK = "mkdir /data/lost+found && chown -R 0:0 /data"


def check_image(blueprint: Blueprint, root: Path, seconds: float = SECONDS) -> str:
    """Build the image, and verify a container of it as `make verify` does.

    Raises FailedError, and NotCheckedError where no engine is there.
    """
    if fault := engine_fault():
        raise NotCheckedError(f"{fault}: neither built nor tried here.")
    try:
        # Render makes a build argument of each of the service's variables.
        build(TAG, blueprint.variables(blueprint.web_service))
        with _box() as box:
            return _try(box, root, seconds)
    except DockerError as trouble:
        raise FailedError(str(trouble), "Correct what it says; make up runs the image here.") from trouble


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
    """Verify the container and stop it; returns what was seen. Raises DockerError."""
    box.run()
    ready = box.await_ready()
    report = run_verify(
        VerifyOptions(box.url, box.environment, soak_minutes=seconds / 60, models_dir=root / "models")
    )
    faults = [f"{check.name}: {check.detail}" for check in report.failures]
    if kills := box.oom_kills():
        faults.append(f"The kernel has killed {kills} of its processes for memory.")
    stopped = box.stop()
    if code := box.state()["ExitCode"]:
        faults.append(f"It ended with {code} when it was stopped.")
    if faults or not report.passed:
        raise DockerError("\n".join([*faults, box.log_tail()]))
    soak = next(check.measured for check in report.checks if check.name == "soak")
    return f"built; ready in {ready:.1f} s; verified, with {soak}; stopped in {stopped:.1f} s"
