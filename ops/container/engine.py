"""The Docker engine: commands through its command line, memory through its socket."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

#: Seconds that one command may take; building an image takes longer and sets no limit.
COMMAND_SECONDS = 120.0
#: Seconds that the engine may take to say how much memory a container has.
STATS_SECONDS = 5.0
#: Characters of a command's error that are shown.
SHOWN_LINES = 20


class DockerError(Exception):
    """Docker is not there, or refused something. The message says what to do."""


def docker(
    *words: str, seconds: float | None = COMMAND_SECONDS, environment: Mapping[str, str] | None = None
) -> str:
    """Run `docker …` and return what it prints; raises DockerError if it fails.

    `environment` is added to ours: what a `-e NAME` without a value takes, so that no secret is on the
    command line, where all processes of the machine can read it.
    """
    done = _run(words, seconds, environment)
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-SHOWN_LINES:])
        raise DockerError(f"`docker {' '.join(words[:2])}` failed: {said}")
    return done.stdout


def docker_succeeds(*words: str) -> bool:
    """Return whether `docker …` exits with 0."""
    return _run(words, COMMAND_SECONDS, None).returncode == 0


def docker_streams(*words: str) -> str:
    """Run `docker …` and return what it writes on standard output and standard error, together."""
    done = _run(words, COMMAND_SECONDS, None)
    return done.stdout + done.stderr


def _run(
    words: tuple[str, ...], seconds: float | None, environment: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as fault:
        raise DockerError(
            "There is no docker command here: install Docker, or use `make run` without it."
        ) from fault
    except subprocess.TimeoutExpired as fault:
        raise DockerError(
            f"`docker {' '.join(words[:2])}` has taken {seconds:.0f} s: is the engine stuck?"
        ) from fault


def engine_fault() -> str | None:
    """Return why no engine can be used, or None."""
    if shutil.which("docker") is None:
        return "there is no docker command here"
    if not docker_succeeds("info"):
        return "no Docker engine answers"
    return None


def require_engine() -> None:
    """Raise DockerError with the remedy where no engine answers."""
    if fault := engine_fault():
        raise DockerError(f"{fault}: install and start Docker, or use `make run` without it.")


def container_stats(container_id: str) -> dict[str, Any]:
    """Return the engine's account of a container's memory. Raises OSError if it gives none."""
    connection = _EngineConnection(_socket_path())
    try:
        connection.request("GET", f"/containers/{container_id}/stats?stream=false&one-shot=true")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"the engine answers {answer.status}: {body[:200]!r}")
    return dict(json.loads(body)["memory_stats"])


class _EngineConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=STATS_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(STATS_SECONDS)
        self.sock.connect(self._path)


@cache
def _socket_path() -> str:
    address = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
    if not address.startswith("unix://"):
        raise DockerError(f"The engine at {address} is not on this machine: its memory cannot be watched.")
    return address.removeprefix("unix://")
