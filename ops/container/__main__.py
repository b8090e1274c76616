"""`python -m ops.container image | layers | up | down | logs | shell | prove`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from ops.container.engine import DockerError, docker_succeeds, require_engine
from ops.container.home import NAME, announcement, gone, home_box
from ops.container.image import build, report
from ops.container.load import ProofError
from ops.container.proof import prove
from shared.errors import ShapboxError

#: Lines of the log that are shown before it is followed.
LOG_LINES = "200"


def main() -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.container", description=__doc__)
    parser.add_argument("command", choices=[*_COMMANDS, "prove"])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long prove keeps it at full load")
    options = parser.parse_args()
    try:
        require_engine()
        if options.command == "prove":
            prove(options.minutes)
        else:
            _COMMANDS[options.command]()
    except (DockerError, ProofError, ShapboxError) as fault:
        print(f"container: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _image() -> None:
    build()
    print(report())


def _layers() -> None:
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
    print(announcement(box, seconds))


def _down() -> None:
    if not _is_there():
        print(f"There is no container {NAME}.")
        return
    box = home_box(os.environ)
    seconds = box.stop()
    box.remove()
    print(gone(box, seconds))


def _logs() -> None:
    _become("logs", "--follow", "--tail", LOG_LINES, NAME)


def _shell() -> None:
    _become("exec", *(["--interactive", "--tty"] if sys.stdin.isatty() else ["--interactive"]), NAME, "bash")


def _is_there() -> bool:
    return docker_succeeds("container", "inspect", NAME)


def _become(*words: str) -> None:
    """Turn into docker, which then has the terminal to itself."""
    if not _is_there():
        raise DockerError(f"There is no container {NAME}: start it with `make up`.")
    sys.stdout.flush()
    os.execvp("docker", ["docker", *words])  # noqa: S606  # no shell in between


_COMMANDS: Mapping[str, Callable[[], None]] = {
    "image": _image,
    "layers": _layers,
    "up": _up,
    "down": _down,
    "logs": _logs,
    "shell": _shell,
}

if __name__ == "__main__":
    sys.exit(main())
