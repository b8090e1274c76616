"""Ctrl-C during a deploy: on a terminal, in a log, and while the deploy is being ordered."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.deploy.conftest import Deployer, without_secrets
from tests.integration.deploy.fake_render import FakeRender

#: Seconds that anything may take on a busy machine.
PATIENCE = 60.0
#: A deploy that would go on for minutes.
ENDLESS = ("created", *["build_in_progress"] * 100_000)


@dataclass(slots=True)
class Shown:
    """A deploy, and all that it has written so far."""

    process: subprocess.Popen[bytes]
    output: int
    text: str = ""

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            self.text += os.read(self.output, 4096).decode(errors="replace")

    def end(self) -> int:
        """Read on to its end; return the exit code."""
        while True:
            try:
                more = os.read(self.output, 4096)
            except OSError:  # the end of a terminal
                more = b""
            if not more:
                break
            self.text += more.decode(errors="replace")
        assert without_secrets(self.text)
        return self.process.wait(PATIENCE)


@contextmanager
def running(deployer: Deployer, *, terminal: bool) -> Iterator[Shown]:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = deployer.start(theirs)
    os.close(theirs)
    giving_up = threading.Timer(PATIENCE, process.kill)
    giving_up.start()
    try:
        yield Shown(process, ours)
    finally:
        giving_up.cancel()
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_leaves_the_deploy_running_and_says_what_to_do(
    terminal: bool,  # noqa: FBT001  # a parameter of the test
    deployer: Deployer,
    render: FakeRender,
) -> None:
    render.script = ENDLESS
    with running(deployer, terminal=terminal) as shown:
        shown.wait_for("is being built")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 130
    assert "goes on at Render, unverified" in shown.text
    assert "https://dashboard.example" in shown.text
    # A terminal shows one line that is overwritten. Other output has a line for each change.
    assert ("\r\x1b[K" in shown.text) == terminal
    assert (render.orders(), render.deploys[0].status) == (1, "build_in_progress")


def test_ctrl_c_while_the_deploy_is_ordered_waits_until_it_is_known_whether_it_began(
    deployer: Deployer, render: FakeRender
) -> None:
    render.script = ENDLESS
    order, ordered, go_on = render.post_deploy, threading.Event(), threading.Event()

    def order_slowly(body: dict[str, str]) -> tuple[int, object]:
        ordered.set()
        assert go_on.wait(PATIENCE)
        return order(body)

    render.post_deploy = order_slowly  # type: ignore[method-assign, assignment]
    with running(deployer, terminal=False) as shown:
        assert ordered.wait(PATIENCE)
        shown.process.send_signal(signal.SIGINT)
        shown.wait_for("Ctrl-C is heard")
        go_on.set()
        assert shown.end() == 130
    assert "goes on at Render" in shown.text
    assert len(render.deploys) == 1
