"""The Docker engine: commands through its command line, memory through its socket."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx

#: Seconds that one command may take; building an image takes longer and sets no limit.
COMMAND_SECONDS = 120.0
#: Lines of a command's error that are shown.
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
    return _run(words).returncode == 0


def docker_streams(*words: str) -> str:
    """Run `docker …` and return what it writes on standard output and standard error, together."""
    done = _run(words)
    return done.stdout + done.stderr


def _run(
    words: tuple[str, ...],
    seconds: float | None = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    command, own = ["docker", *words], {**os.environ, **(environment or {})}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=own, timeout=seconds, check=False
        )
    except FileNotFoundError as fault:
        raise DockerError("There is no docker command here: use `make run` without it.") from fault
    except subprocess.TimeoutExpired as fault:
        raise DockerError(f"`docker {words[0]}` has taken {seconds:.0f} s: is the engine stuck?") from fault


def engine_fault() -> str | None:
    """Return why no engine can be used, or None."""
    try:
        docker("info")
    except DockerError as fault:
        return str(fault)
    return None


def require_engine() -> None:
    """Raise DockerError with the remedy where no engine answers."""
    if fault := engine_fault():
        raise DockerError(f"{fault}\nInstall and start Docker, or use `make run` without it.")


def memory_stats(container: str) -> dict[str, Any]:
    """Return the engine's account of a container's memory. Raises OSError if it gives none."""
    try:
        path = f"/containers/{container}/stats?stream=false&one-shot=true"
        return dict(_engine().get(path).raise_for_status().json()["memory_stats"])
    except (httpx.HTTPError, KeyError) as fault:
        raise OSError(f"the engine tells nothing of {container}: {fault}") from fault


@cache
def _engine() -> httpx.Client:
    address = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
    if not address.startswith("unix://"):
        raise DockerError(f"The engine at {address} is not on this machine: its memory cannot be watched.")
    socket = httpx.HTTPTransport(uds=address.removeprefix("unix://"))
    return httpx.Client(transport=socket, base_url="http://engine", timeout=5.0)
