"""Settings of all tests, and how they are spread over processes."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

from ops.lab import trial_appliance
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.support.processes import common_folder

#: Folders in the order in which their tests are started: first those that mostly wait, so that others compute meanwhile.
FOLDERS = ("container", "appliance", "watch", "console", "clients", "integration", "unit")
#: Files that take so long that they are started before all others.
LONGEST = (
    "test_real_alerts",
    "test_health_states",
    "test_scale_out",
    "test_http_attacks",
    "test_disk",
    "test_generated_clients",
)
#: Folders whose tests share something that is dear: a browser, an appliance and its clients.
TOGETHER = ("console", "clients")
#: Fixtures that make a test something of its own, and those that tests of a file share.
OWN, SHARED = {"make_appliance", "make_box", "fleet"}, {"appliance", "box", "stories", "watched"}
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share something in one process, and start the longest first."""
    for item in items:
        if group := _group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn_of)


def _group_of(item: pytest.Item) -> str | None:
    """Return the group of a test; None if it may run anywhere."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if fixtures & OWN and not fixtures & SHARED:
        return None
    folder = item.path.relative_to(ROOT / "tests").parts[0]
    return folder if folder in TOGETHER else f"{item.path.parent.name}/{item.path.stem}"


def _turn_of(item: pytest.Item) -> tuple[bool, int]:
    folder = item.path.relative_to(ROOT / "tests").parts[0]
    return item.path.stem not in LONGEST, FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.fixture(scope="session", autouse=True)
def _kept_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the first appliance activate the shipped models, and the others take its record."""
    Appliance.kept_models = common_folder(tmp_path_factory) / "kept" / "models"
    Appliance.kept_models.parent.mkdir(exist_ok=True)
