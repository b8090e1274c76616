"""`python -m ops.container image | up | down | logs | shell`: this machine's container."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.container.box import Box
from ops.container.engine import DockerError, docker_succeeds, require_engine
from ops.container.image import build, report
from shared.errors import ShapboxError
from shared.settings import SETTING_NAMES, Settings

#: The container's name, and the volume that keeps its jobs and keys.
NAME, VOLUME = "shapbox", "shapbox-data"
#: Settings that say where something is on this machine, and not in the container.
OUTSIDE = frozenset({"PORT", "HOST", "DATA_DIR", "MODELS_DIR"})
#: Variables for a remote object store.
STORES = ("AWS_", "GOOGLE_", "AZURE_")
#: Where the container finds models of one's own.
INNER_MODELS = "/models"
#: Lines of the log that are shown before it is followed.
LOG_LINES = "200"


def main() -> int:
    """Run one command; return its exit code."""
    commands = {"image": _image, "up": _up, "down": _down, "logs": _logs, "shell": _shell}
    parser = argparse.ArgumentParser(prog="python -m ops.container", description=__doc__)
    parser.add_argument("command", choices=commands)
    options = parser.parse_args()
    try:
        require_engine()
        commands[options.command]()
    except (DockerError, ShapboxError) as fault:
        print(f"container: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def home_box(environment: Mapping[str, str]) -> Box:
    """Return the container that the environment's settings describe.

    PORT is the port on this machine, MODELS_DIR a folder here. A setting's NAME_FILE is read here. Raises
    SettingsError.
    """
    settings = Settings.from_environment(environment)
    names = [name for name in SETTING_NAMES if name not in OUTSIDE]
    names += [name for name in environment if name.startswith(STORES)]
    inside = {name: text for name in names if (text := _given(environment, name))}
    options = ["--restart=unless-stopped"]
    if models := _given(environment, "MODELS_DIR"):
        options.append(f"--volume={Path(models).absolute()}:{INNER_MODELS}:ro")
        inside["MODELS_DIR"] = INNER_MODELS
    return Box(NAME, settings.port, VOLUME, inside, options)


def _given(environment: Mapping[str, str], name: str) -> str:
    file = environment.get(f"{name}_FILE", "").strip()
    return Path(file).read_text(encoding="utf-8").strip() if file else environment.get(name, "").strip()


def _image() -> None:
    build()
    print(report())


def _up() -> None:
    box = home_box(os.environ)
    build()
    if _is_there():
        print(f"Replacing the container {NAME} …", flush=True)
        box.stop()
        box.remove()
    box.run()
    try:
        seconds = box.await_ready()
    except DockerError:
        box.stop()  # or it would be started again and again
        raise
    print(
        f"Shapbox is ready at {box.url} after {seconds:.1f} s, in {box.memory_mb} MB\n"
        f"  key   {box.api_key}\n"
        f"  docs  {box.url}/docs\n"
        f"make logs follows it, make down stops it; the volume {box.volume} keeps its jobs and keys."
    )


def _down() -> None:
    if not _is_there():
        print(f"There is no container {NAME}.")
        return
    box = home_box(os.environ)
    seconds = box.stop()
    box.remove()
    print(
        f"Stopped after {seconds:.1f} s. The volume {box.volume} keeps jobs and keys: make up goes on with them, "
        f"docker volume rm {box.volume} forgets them."
    )


def _logs() -> None:
    _become("logs", "--follow", "--tail", LOG_LINES, NAME)


def _shell() -> None:
    _become("exec", "--interactive", *(["--tty"] if sys.stdin.isatty() else []), NAME, "bash")


def _is_there() -> bool:
    return docker_succeeds("container", "inspect", NAME)


def _become(*words: str) -> None:
    """Turn into docker, which then has the terminal to itself."""
    if not _is_there():
        raise DockerError(f"There is no container {NAME}: start it with `make up`.")
    sys.stdout.flush()
    os.execvp("docker", ["docker", *words])  # noqa: S606  # no shell in between


if __name__ == "__main__":
    sys.exit(main())
