"""supervisord as boot becomes it, with programs that print in every way that programs do."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.build import ROOT
from tests.support.redis_server import until

HEAD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/supervisord.pid
"""
PROGRAM = """
[{kind}:{name}]
command={folder}/{name}
startsecs=0
autorestart={restart}
stdout_logfile=NONE
"""
LISTENER = "stderr_logfile=NONE\nevents=TICK_3600\npriority=1000\n"
SHAPED = '{"time":"2026-11-25T01:38:52.098Z","level":"INFO","service":"api","message":"hello"}'
#: Seconds for anything to happen on a busy machine.
SECONDS = 60.0
#: supervisord as it is, except that it looks by itself a hundred times less often than once a second after its first look.
SELDOM = """
import itertools
from supervisor import poller
from ops.run.supervision import main
poll, looks = poller.Poller.poll, itertools.count()
poller.Poller.poll = lambda self, timeout: poll(self, (100 if next(looks) else 1) * timeout)
main("json", "INFO")
"""


class Setting:
    """A configuration under construction, and the supervisord that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = HEAD.format(folder=folder)
        self.output = folder / "output"

    def add(self, name: str, script: str, restart: str = "false", *, listener: bool = False) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        kind = "eventlistener" if listener else "program"
        self.text += PROGRAM.format(kind=kind, name=name, folder=self.folder, restart=restart)
        self.text += LISTENER if listener else "redirect_stderr=true\n"

    @contextmanager
    def running(self, *program: str, stdout: int | None = None) -> Iterator[None]:
        """Run supervisord, by another program if one is given; it must end with 0."""
        configuration = self.folder / "supervisord.conf"
        configuration.write_text(self.text)
        words = [sys.executable, *(program or ("-m", "ops.run.supervision")), "json", "INFO"]
        words += ["--nodaemon", "--configuration", str(configuration)]
        words += ["--user", "root"] if os.geteuid() == 0 else []
        with self.output.open("wb") as file:
            process = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout or file, stderr=subprocess.STDOUT
            )
        try:
            yield
            process.terminate()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()

    def of(self, service: str) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in self.output.read_text().split("\n")[:-1]]
        return [record for record in records if record["service"] == service]

    def until_ended(self, *names: str) -> None:
        said = [f"exited: {name} " for name in names]
        until(lambda: all(words in self.output.read_text() for words in said), SECONDS)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_whatever_programs_print_is_in_the_one_shape(setting: Setting) -> None:
    setting.add("last-words", f"echo '{SHAPED}'; printf 'no end of line'")
    setting.add(
        "pieces",
        "printf 'Traceback (most recent call last):\\n  Fi'; sleep 0.2; printf 'le x\\nxError: x\\n'",
    )
    setting.add("bytes", "printf '\\377\\000\\033[1m\\n'")
    setting.add("missing", "exec /nowhere")
    setting.add("listener", "printf 'READY\\n'; echo oops >&2; exec sleep 60", listener=True)
    with setting.running():
        setting.until_ended("last-words", "pieces", "bytes", "missing")
        until(lambda: setting.of("listener"), SECONDS)  # it lives on, and says no more

    assert setting.output.read_text().count(SHAPED) == 1
    assert [record["message"] for record in setting.of("last-words")] == ["no end of line"]
    [pieces] = setting.of("pieces")
    assert (pieces["message"], pieces["level"]) == ("xError: x", "ERROR")
    assert pieces["exception"] == "Traceback (most recent call last):\n  File x\nxError: x"
    assert [record["message"] for record in setting.of("bytes")] == ["\\xff\x00\x1b[1m"]
    assert len(setting.of("missing")) == 1
    assert [record["message"] for record in setting.of("listener")] == ["oops"]
    mine = setting.of("supervisor")
    assert any(record["message"].startswith("supervisord started") for record in mine)
    assert not [record for record in mine if record["level"] == "CRITICAL"]


def test_a_program_is_started_again_though_nobody_reads_what_is_printed(setting: Setting) -> None:
    reader, writer = os.pipe()
    starts = setting.folder / "starts"
    setting.add("noisy", "yes '" + "x" * 200 + "' | head -c 1000000", restart="true")
    setting.add("dying", f"echo >> {starts}; sleep 0.2", restart="true")

    def unread() -> int:
        return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)

    try:
        with setting.running(stdout=writer):
            until(lambda: unread() > 60_000, SECONDS)
            before = starts.stat().st_size if starts.exists() else 0
            until(lambda: starts.exists() and starts.stat().st_size >= before + 2, SECONDS)
    finally:
        os.close(writer)
        os.close(reader)


def test_a_programs_end_is_noticed_by_its_signal_and_not_by_looking_now_and_then(setting: Setting) -> None:
    # Noticed late, a program that fails at once would count as started, and be started again forever.
    setting.add("ending", "exec >&- 2>&-; sleep 0.5")
    with setting.running("-c", SELDOM):
        setting.until_ended("ending")
