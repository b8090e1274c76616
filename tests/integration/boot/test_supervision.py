"""supervisord as boot becomes it, with programs that print in every way that programs do."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
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
redirect_stderr={merged}
stdout_logfile=NONE
stderr_logfile=NONE
{more}
"""
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
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, name: str, script: str, *, restart: bool = False, listener: bool = False) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        self.text += PROGRAM.format(
            kind="eventlistener" if listener else "program",
            name=name,
            folder=self.folder,
            restart=str(restart).lower(),
            merged=str(not listener).lower(),
            more="events=TICK_3600\npriority=1000" if listener else "",
        )

    def start(
        self, stdout: int | None = None, program: tuple[str, str] = ("-m", "ops.run.supervision")
    ) -> None:
        configuration = self.folder / "supervisord.conf"
        configuration.write_text(self.text)
        words = [sys.executable, *program, "json", "INFO"]
        user = ["--user", "root"] if os.geteuid() == 0 else []
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [*words, "--nodaemon", "--configuration", str(configuration), *user],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file if stdout is None else stdout,
                stderr=subprocess.STDOUT,
            )

    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.printed().split("\n")[:-1]]

    def of(self, service: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record["service"] == service]

    def until_ended(self, *names: str) -> None:
        said = [f"exited: {name} " for name in names]
        until(lambda: all(words in self.printed() for words in said), SECONDS)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    made = Setting(tmp_path)
    yield made
    made.stop()


def test_whatever_programs_print_is_in_the_one_shape(setting: Setting) -> None:
    setting.add("shaped", f"echo '{SHAPED}'")
    setting.add("last-words", f"echo '{SHAPED}'; printf 'no end of line'")
    setting.add(
        "pieces",
        "printf 'Traceback (most recent call last):\\n  Fi'; sleep 0.2; printf 'le x\\nxError: x\\n'",
    )
    setting.add("bytes", "printf '\\377\\000\\033[1m\\n'")
    setting.add("missing", "exec /nowhere")
    setting.add("listener", "printf 'READY\\n'; echo oops >&2; exec sleep 60", listener=True)
    setting.start()
    setting.until_ended("shaped", "last-words", "pieces", "bytes", "missing")
    until(lambda: setting.of("listener"), SECONDS)  # it lives on, and says no more
    setting.stop()

    assert setting.printed().count(SHAPED) == 2
    assert [record["message"] for record in setting.of("last-words")] == ["no end of line"]
    [pieces] = setting.of("pieces")
    assert (pieces["message"], pieces["level"]) == ("xError: x", "ERROR")
    assert pieces["exception"] == "Traceback (most recent call last):\n  File x\nxError: x"
    assert [record["message"] for record in setting.of("bytes")] == ["\\xff\x00\x1b[1m"]
    assert len(setting.of("missing")) == 1
    assert [record["message"] for record in setting.of("listener")] == ["oops"]
    mine = [record["message"] for record in setting.of("supervisor")]
    assert any(message.startswith("supervisord started") for message in mine)
    assert not [record for record in setting.of("supervisor") if record["level"] == "CRITICAL"]
    assert setting.process is not None
    assert setting.process.returncode == 0


def test_a_program_is_started_again_though_nobody_reads_what_is_printed(setting: Setting) -> None:
    reader, writer = os.pipe()
    starts = setting.folder / "starts"
    setting.add("noisy", "yes '" + "x" * 200 + "' | head -c 1000000", restart=True)
    setting.add("dying", f"echo >> {starts}; sleep 0.2", restart=True)
    try:
        setting.start(writer)
        os.close(writer)
        until(
            lambda: int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder) > 60_000,
            SECONDS,
        )
        before = starts.stat().st_size if starts.exists() else 0
        until(lambda: starts.exists() and starts.stat().st_size >= before + 2, SECONDS)
        setting.stop()
        assert setting.process is not None
        assert setting.process.returncode == 0
    finally:
        os.close(reader)


def test_a_programs_end_is_noticed_by_its_signal_and_not_by_looking_now_and_then(setting: Setting) -> None:
    # Noticed late, a program that fails at once would count as started, and be started again forever.
    setting.add("ending", "exec >&- 2>&-; sleep 0.5")
    setting.start(program=("-c", SELDOM))
    setting.until_ended("ending")
    setting.stop()


def test_a_configuration_that_cannot_be_read_is_told_in_the_shape(setting: Setting) -> None:
    setting.add("twice", "true")
    setting.text = setting.text.replace("startsecs=0", "startsecs=soon")
    setting.start()
    assert setting.process is not None
    assert setting.process.wait(SECONDS) == 2
    [record] = setting.records()
    assert (record["level"], record["service"]) == ("CRITICAL", "supervisor")
    assert "soon" in record["message"]
