"""The real thing on a DATA_DIR and ports of its own, for trials: tests, chaos and soak.

Booted, waited for, killed or stopped, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import psutil

from ops.reached import Reached
from shared.build import ROOT
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings

#: Where a memory cgroup of a trial's own can be made (version 1), by root.
CGROUPS = Path("/sys/fs/cgroup/memory")
#: Ports that are not taken for outgoing connections, which start at 32768 on Linux: the kernel could give one away
#: before an appliance listens on it.
PORTS = range(20_000, 32_000)
#: Seconds for the first start on a busy machine, and for the end (what the design promises).
READY_SECONDS, STOP_SECONDS = 120.0, 25.0


class TrialError(AssertionError):
    """The appliance did not do what every trial takes for granted, or a trial's finding."""


class Appliance(Reached):
    """`python -m ops.run` on its own DATA_DIR and free ports, with further `settings`."""

    #: Where the compiled shipped models are kept for the next trials: boot activates only those whose record does not fit.
    kept_models: ClassVar[Path | None] = None

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        cgroup: Path | None = None,
        *,
        checkout: Path | None = None,
    ) -> None:
        """`checkout` is another copy of this repository, with an environment in .venv."""
        self.cgroup = cgroup
        self._root = checkout or ROOT
        self._python = sys.executable if checkout is None else str(checkout / ".venv" / "bin" / "python")
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        port, metrics_port = free_ports()
        self.environment = {
            **environment_without_settings(),
            "DATA_DIR": str(data_dir),
            "PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "WORKERS": "2",
            **(settings or {}),
        }
        self.url = f"http://127.0.0.1:{self.environment['PORT']}"
        self.metrics_url = f"http://127.0.0.1:{self.environment['METRICS_PORT']}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float | None = None) -> float:
        """Boot and wait for readiness; return the seconds it took. Fails with the log's tail."""
        command, started = self._command(), time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self._root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        seconds = READY_SECONDS if seconds is None else seconds
        while time.monotonic() - started < seconds:
            if self.process.poll() is not None:
                raise TrialError(f"boot ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.is_ready():
                seconds = time.monotonic() - started
                self._keep_models()
                return seconds
            time.sleep(0.05)
        self.kill()
        raise TrialError(f"not ready after {seconds} s\n{self.log_tail()}")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop it in order; return the seconds it took. Fails if anything is left."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        family = self.family()
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TrialError(f"not stopped after {STOP_SECONDS} s:\n{self.log_tail()}") from None
        seconds = time.monotonic() - started
        left = [
            process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]
        if left:
            raise TrialError(f"left behind: {left}\n{self.log_tail()}")
        return seconds

    def kill(self) -> None:
        """Kill all its processes at once, as a container's end does."""
        if self.process is None:
            return
        for process in self.family():
            process.kill()
        self.process.wait(60)

    def run_boot(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Boot with the same settings, for starts that are expected to be refused or only checked."""
        return subprocess.run(
            [*self._command(), *arguments],
            cwd=self._root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def family(self) -> list[psutil.Process]:
        """Return supervisord and all processes below it."""
        if self.process is None or self.process.poll() is not None:
            return []
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def pids_of(self, word: str) -> list[int]:
        """Return the processes with this word on their command line, such as services.api."""
        return [one.pid for one in self.family()[1:] if any(word in part for part in _command_line(one))]

    def programs(self) -> dict[str, psutil.Process]:
        """Return the running programs by name: redis, api, monitor, worker-1 and so on."""
        if self.process is None or self.process.poll() is not None:
            return {}
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return {}
        return {name: child for child in children if (name := _program_name(_command_line(child)))}

    def worker_pids(self) -> list[int]:
        """Return the workers' process ids."""
        return self.pids_of("services.worker")

    def log(self) -> str:
        """Return all that it has printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def settings(self) -> Settings:
        """Return the settings that its programs run with."""
        return Settings.from_environment({**self.environment, "DATA_DIR": str(self.data_dir)})

    def _take_kept_models(self) -> None:
        compiled = Settings(data_dir=self.data_dir).compiled_dir
        if self.kept_models is None or not self.kept_models.exists() or compiled.exists():
            return
        with contextlib.suppress(OSError):  # boot says what is wrong with a DATA_DIR
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copytree(self.kept_models, compiled)

    def _keep_models(self) -> None:
        if self.kept_models is None or self.kept_models.exists() or "MODELS_DIR" in self.environment:
            return
        copy = Path(tempfile.mkdtemp(dir=self.kept_models.parent))
        shutil.copytree(Settings(data_dir=self.data_dir).compiled_dir, copy, dirs_exist_ok=True)
        with contextlib.suppress(OSError):  # another trial was sooner
            copy.rename(self.kept_models)

    def _command(self) -> list[str]:
        """Return the command that boots it, with compiled models where some are kept."""
        self._take_kept_models()
        boot = [self._python, "-m", "ops.run"]
        if self.cgroup is None:
            return boot
        # The shell joins the cgroup and becomes the appliance: all its children are born inside.
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.cgroup), *boot]

    def key(self, name: str) -> str:
        """Return a key: as it was set, or as boot made it."""
        return (
            self.environment.get(name) or (self.data_dir / "keys" / name).read_text(encoding="ascii").strip()
        )


#: A word of the command line of each program besides the workers, and supervisord's name for it.
PROGRAM_WORDS = {"redis-server": "redis", "services.api": "api", "services.monitor": "monitor"}


def _command_line(process: psutil.Process) -> list[str]:
    """Return a program's command line; an empty one if it has ended or is just being started."""
    try:
        line = process.cmdline()  # of a zombie it is empty
    except psutil.NoSuchProcess:
        return []
    return [] if "ops.run.parent_death" in line else line


def _program_name(line: list[str]) -> str | None:
    if "services.worker" in line:
        return line[-1]
    return next((name for word, name in PROGRAM_WORDS.items() if any(word in part for part in line)), None)


@contextlib.contextmanager
def memory_cgroup(name: str, limit_mb: int) -> Iterator[Path | None]:
    """Make a memory cgroup with a limit to start an appliance in; None if that fails."""
    folder = CGROUPS / f"shapbox-{name}-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(limit_mb * 2**20), encoding="ascii")
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        for _ in range(50):  # it can be removed when its last process is reaped
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.1)
            else:
                break


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment without any setting that a person or CI may have set."""
    ours = {*SETTING_NAMES, *(f"{name}_FILE" for name in (*SETTING_NAMES, *KEY_NAMES))}
    return {name: value for name, value in os.environ.items() if name not in ours}


def free_ports(count: int = 2) -> list[int]:
    """Return ports that nothing uses now, and no outgoing connection will."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(PORTS)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found
