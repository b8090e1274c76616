"""Settings of all tests, and how they are spread over processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from ops.lab import trial_appliance
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.support.processes import common_folder

#: Folders in the order in which their tests are started: first those that mostly wait, so that others compute meanwhile.
FOLDERS = ("container", "appliance", "watch", "console", "client", "clients", "integration", "unit")
#: Files that take so long that they are started before all others.
LONGEST = (
    "test_real_alerts",
    "test_health_states",
    "test_http_attacks",
    "test_disk",
    "test_generated_clients",
)
#: Folders whose tests share something that is dear: a browser, an appliance and its clients.
TOGETHER = ("console", "client", "clients")
#: Files whose tests share nothing: each may run in any process. All other files stay in one.
APART = (
    "appliance/test_chaos.py",
    "appliance/test_failover.py",
    "appliance/test_poison.py",
    "container/test_faults.py",
)
#: Files whose tests follow each other: what one of them provokes would be seen by another.
IN_ORDER = ("test_real_alerts",)
#: Processes of pytest that may run at a time, for each of which there are ports of its own.
MOST_PROCESSES = 16


def pytest_configure() -> None:
    """Handle Ctrl-C, which background programs of a shell ignore, and so would the tests'."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes, or to make it, depends on what else the machine has to do.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("shapbox", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("shapbox")
    # A free port is taken a moment after it was found: another process must not find it meanwhile.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_PROCESSES
    trial_appliance.PORTS = trial_appliance.PORTS[number::MOST_PROCESSES]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest first."""
    items.sort(key=lambda item: (_turn_of(item.path), item.path.stem in IN_ORDER and item.location[1]))


def _turn_of(path: Path) -> tuple[bool, int]:
    folder = path.relative_to(ROOT / "tests").parts[0]
    return path.stem not in LONGEST, FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Keeps tests that share something in one process, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = Path(file).parts[1]
        if file.removeprefix("tests/") in APART:
            return nodeid
        return folder if folder in TOGETHER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Have xdist distribute groups."""
    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.fixture(scope="session", autouse=True)
def _kept_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the first appliance activate the shipped models, and the others take its record."""
    Appliance.kept_models = common_folder(tmp_path_factory) / "kept" / "models"
    Appliance.kept_models.parent.mkdir(exist_ok=True)
