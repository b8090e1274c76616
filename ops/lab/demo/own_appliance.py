"""An appliance for the length of the demo, where none answers yet."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ops.address import local_address
from ops.http_call import answer_or_none
from ops.lab.demo.failure import DemoError
from shared.build import ROOT
from shared.settings import Settings

#: Seconds that the appliance may take to be ready, and to stop: supervisord's own limits add up to 25.
START_SECONDS, STOP_SECONDS = 60.0, 30.0
#: How many of its last lines are shown if it does not start.
TAIL_LINES = 15


@contextlib.contextmanager
def running_appliance(settings: Settings, environment: Mapping[str, str]) -> Iterator[None]:
    """Run an appliance on the usual DATA_DIR in the block; raises DemoError if it fails."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log_path = settings.data_dir / "demo.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.run"],
            cwd=ROOT,
            env={**environment, "DATA_DIR": str(settings.data_dir.absolute())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the demo, which stops the appliance in order
        )
    try:
        _await_ready(process, f"{local_address(settings)}/readyz", log_path)
        yield
    finally:
        _stop(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        answer = answer_or_none(url)
        if answer is not None and answer.status == 200:
            return
        time.sleep(0.1)
    how = "did not become ready" if process.poll() is None else "ended"
    tail = log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    raise DemoError("\n".join([f"The appliance {how}. The last lines of {log_path}:", *tail]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
