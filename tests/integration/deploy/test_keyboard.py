"""Ctrl-C while a deploy is followed, on a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.integration.deploy.conftest import Deployer, without_secrets
from tests.integration.deploy.fake_render import FakeRender

#: Seconds that anything on the terminal may take on a busy machine.
PATIENCE = 30.0
#: A deploy that would go on for minutes.
ENDLESS = ("created", *["build_in_progress"] * 100_000)


@dataclass(slots=True)
class Terminal:
    """A deploy on a terminal: what it has shown, and somebody at the keys."""

    process: subprocess.Popen[bytes]
    keys: int
    shown: str = ""
    _grown: threading.Condition = field(default_factory=threading.Condition)

    def read_on(self) -> None:
        while True:
            try:
                text = os.read(self.keys, 4096).decode(errors="replace")
            except OSError:
                return
            with self._grown:
                self.shown += text
                self._grown.notify_all()

    def wait_for(self, text: str) -> None:
        with self._grown:
            assert self._grown.wait_for(lambda: text in self.shown, PATIENCE), self.shown

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def type(self, text: str) -> None:
        os.write(self.keys, text.encode())

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        assert without_secrets(self.shown)
        return code


@contextmanager
def terminal(deployer: Deployer) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = deployer.start(theirs, theirs)
    os.close(theirs)
    shown = Terminal(process, ours)
    reader = threading.Thread(target=shown.read_on)
    reader.start()
    try:
        yield shown
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(ours)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_asks_and_yes_cancels_the_deploy(deployer: Deployer, render: FakeRender) -> None:
    render.script = ENDLESS
    with terminal(deployer) as shown:
        shown.wait_for("is being built")
        shown.press_ctrl_c()
        shown.wait_for("Cancel? [y/N]")
        shown.type("y\n")
        assert shown.end() == 130
        assert "was canceled, as you asked" in shown.shown
    assert render.orders("/cancel") == 1
    assert render.deploys[0].status == "canceled"


def test_ctrl_c_and_no_goes_on_watching_the_same_deploy_to_its_end(
    deployer: Deployer, render: FakeRender
) -> None:
    render.script = ENDLESS
    with terminal(deployer) as shown:
        shown.wait_for("is being built")
        shown.press_ctrl_c()
        shown.wait_for("Cancel? [y/N]")
        shown.type("\n")
        render.deploys[0].ahead = ["update_in_progress", "live"]
        assert shown.end() == 0
        assert "is live" in shown.shown
        # One line that is written over, and not a line for each look.
        assert shown.shown.count("\r\x1b[K") > 2
    assert (render.orders(), render.orders("/cancel")) == (1, 0)


def test_a_second_ctrl_c_leaves_the_deploy_running(deployer: Deployer, render: FakeRender) -> None:
    render.script = ENDLESS
    with terminal(deployer) as shown:
        shown.wait_for("is being built")
        shown.press_ctrl_c()
        shown.wait_for("Cancel? [y/N]")
        shown.press_ctrl_c()
        assert shown.end() == 130
        assert "goes on at Render" in shown.shown
    assert render.orders("/cancel") == 0
    assert render.deploys[0].status == "build_in_progress"


def test_ctrl_c_while_the_deploy_is_ordered_waits_until_it_is_known_which(
    deployer: Deployer, render: FakeRender
) -> None:
    render.script = ENDLESS
    order, ordered, go_on = render.post_deploy, threading.Event(), threading.Event()

    def order_slowly(body: dict[str, str]) -> tuple[int, object]:
        ordered.set()
        assert go_on.wait(PATIENCE)
        return order(body)

    render.post_deploy = order_slowly  # type: ignore[method-assign, assignment]
    with terminal(deployer) as shown:
        assert ordered.wait(PATIENCE)
        shown.press_ctrl_c()
        shown.wait_for("Ctrl-C is heard")
        go_on.set()
        shown.wait_for("Cancel? [y/N]")
        shown.type("yes\n")
        assert shown.end() == 130
    assert (render.orders(), render.orders("/cancel")) == (1, 1)


def test_without_a_terminal_ctrl_c_leaves_it_running_and_says_so(
    deployer: Deployer, render: FakeRender
) -> None:
    render.script = ENDLESS
    reading, writing = os.pipe()
    process = deployer.start(subprocess.DEVNULL, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as output:
        until(lambda: len(render.deploys) == 1 and render.deploys[0].status == "build_in_progress")
        process.send_signal(signal.SIGINT)
        said = output.read()
    assert process.wait(PATIENCE) == 130
    assert "no terminal to ask" in said
    assert "goes on at Render" in said
