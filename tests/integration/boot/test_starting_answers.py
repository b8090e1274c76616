"""The program that answers while boot works, where boot hangs or dies, and at its end."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import free_ports
from shapbox import NoAnswerError, Response, Shapbox
from shared.appliance.handover import take_listeners
from shared.build import ROOT
from shared.settings import Settings
from tests.support.redis_server import until

#: Boot, which begins a step that may take so many seconds, and hangs in it.
BOOT = """
import json, sys, time
from pathlib import Path
from ops.run.starting import start_answering
from shared.settings import Role, Settings
folder, port, role, seconds = sys.argv[1:]
settings = Settings(data_dir=Path(folder), port=int(port), role=Role(role))
start_answering(settings)("A model is being activated.", float(seconds))
print("answering", flush=True)
time.sleep(600)
"""


@contextmanager
def hanging_boot(settings: Settings, role: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", BOOT, str(settings.data_dir), str(settings.port), role, str(seconds)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as boot:
        try:
            assert boot.stdout is not None
            assert boot.stdout.readline() == b"answering\n"
            yield boot
        finally:
            boot.kill()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path, port=free_ports(1)[0])
    made.run_dir.mkdir()
    return made


def answer(settings: Settings, path: str = "/healthz") -> Response | None:
    try:
        return Shapbox(f"http://127.0.0.1:{settings.port}", "").call("GET", path, seconds=10)
    except NoAnswerError:
        return None


def health(settings: Settings) -> tuple[int, dict[str, Any]]:
    found = answer(settings)
    assert found is not None
    return found.status, found.json()


def test_a_boot_that_makes_no_progress_is_failing_and_one_that_is_killed_leaves_the_port(
    settings: Settings,
) -> None:
    with hanging_boot(settings, "all", 0.0) as boot:
        until(lambda: health(settings)[1]["status"] == "failing")
        status, document = health(settings)
        assert status == 503
        [cause] = document["causes"]
        assert cause["cause"] == "starting"
        assert "no progress: A model is being activated." in cause["detail"]
        boot.kill()
        until(lambda: answer(settings) is None)
    assert take_listeners(settings.starting_socket) == []


def test_an_api_alone_is_not_healthy_before_it_has_the_sockets_which_are_given_away_once(
    settings: Settings,
) -> None:
    with hanging_boot(settings, "api", 600.0):
        status, document = health(settings)
        assert (status, document["status"], document["causes"]) == (503, "starting", [])
        [listener] = take_listeners(settings.starting_socket)
        assert listener.getsockname()[1] == settings.port
        with listener, socket.create_connection(("127.0.0.1", settings.port)) as early:
            accepted, address = listener.accept()
            assert address == early.getsockname()
            accepted.close()
            assert take_listeners(settings.starting_socket) == []
    assert answer(settings) is None
