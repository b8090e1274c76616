"""Settings of all tests."""

from __future__ import annotations

import signal

import hypothesis
import pytest

from ops.lab.trial_appliance import Appliance


def pytest_configure() -> None:
    """Handle Ctrl-C, which background programs of a shell ignore, and so would the tests'."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes, or to make it, depends on what else the machine has to do.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("shapbox", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("shapbox")


@pytest.fixture(scope="session", autouse=True)
def _kept_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the first appliance activate the shipped models, and the others take its record."""
    Appliance.kept_models = tmp_path_factory.mktemp("kept") / "models"
