"""The built image on a real engine. Without an engine these tests are skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from ops.container.box import IMAGE, Box
from ops.container.engine import docker, engine_fault
from ops.container.image import commit
from ops.lab.trial_appliance import free_ports
from shared.build import ROOT, VERSION
from tests.support.faults.placing import STARTUP, Faults
from tests.support.faults.submitted import SMALL_BATCHES
from tests.support.processes import once

#: Set where an engine must be there (.ci/run): its absence is then a failure.
REQUIRED = "SHAPBOX_CONTAINER_TESTS"
#: The image under test.
TAG = f"{IMAGE}-under-test"

MakeBox = Callable[..., Box]
Say = Callable[[str], None]


def build(tag: str, folder: Path, **arguments: str) -> None:
    """Build an image quietly; mostly from the cache."""
    words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    docker("build", "--network", "host", "--tag", tag, *words, str(folder), seconds=None)


def missing(what: str) -> None:
    """Skip the tests, or fail where nothing may be missing."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {what}")
    pytest.skip(f"{what}: the container is not tested here")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image from this folder."""
    if fault := engine_fault():
        missing(fault)
    once(tmp_path_factory, "image", lambda: build(TAG, ROOT, VERSION=VERSION, COMMIT=commit()))
    return TAG


@pytest.fixture(scope="session")
def peers(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image of the peers: Valkey, and moto's S3 server as the tests' lock has it."""
    del image  # it asks for the engine
    tag, folder = f"{IMAGE}-test-peers", Path(__file__).parent / "peers"
    once(tmp_path_factory, "peers", lambda: build(tag, folder, MOTO_VERSION=version("moto")))
    return tag


@pytest.fixture
def make_box(image: str, request: pytest.FixtureRequest) -> Iterator[MakeBox]:
    """Make confined containers by `make_box(NAME="value", …)`, removed when the test ends."""
    boxes: list[Box] = []

    def make(*options: str, **environment: str) -> Box:
        # The process id keeps two runs of the tests apart.
        name = f"shapbox-test-{os.getpid()}-{request.node.name.partition('[')[0][:40]}-{len(boxes)}"
        given = {**SMALL_BATCHES, **environment}
        box = Box(name, free_ports(1)[0], name, given, options, image=image)
        boxes.append(box)
        return box

    try:
        yield make
    finally:
        for box in boxes:
            box.remove(with_data=True)


@pytest.fixture(scope="module")
def box(image: str) -> Iterator[Box]:
    """Run one container for the tests of a module, whose batches are as large as they come."""
    name = f"shapbox-test-{os.getpid()}-shared"
    running = Box(name, free_ports(1)[0], name, image=image)
    try:
        running.run()
        running.await_ready()
        yield running
    finally:
        running.remove(with_data=True)


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    """Place faults in a container made with `*fault_mounts` and `**faults.environment()`."""
    placed = Faults(tmp_path / "faults")
    for folder in (tmp_path / "faults", *(tmp_path / "faults").iterdir()):
        folder.chmod(0o777)  # the container's user is not the tests'
    return placed


@pytest.fixture
def fault_mounts(tmp_path: Path) -> list[str]:
    """Return the options that mount the faults into a container, at the same paths."""
    return [f"--volume={STARTUP}:{STARTUP}:ro", f"--volume={tmp_path / 'faults'}:{tmp_path / 'faults'}"]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Show what was measured: figures that no test may depend on."""

    def show(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {line}\n")

    return show
