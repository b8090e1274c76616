"""The image: built from this folder, and told apart layer by layer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from ops.container.box import IMAGE
from ops.container.engine import DockerError, docker
from shared.build import ROOT, VERSION, git_commit

#: The purpose of each layer, by words of its command. The first that fits tells.
LAYERS = (
    ("/opt/shapbox/venv", "the locked packages, compiled to bytecode, without their tests"),
    ("/opt/shapbox/app", "Shapbox itself, and its models"),
    ("/opt/shapbox/sbom", "the list of the packages as CycloneDX"),
    ("redis-server", "Python, Redis and a font from Debian, the plain user, /data"),
)


def build(tag: str = IMAGE, arguments: Mapping[str, str] | None = None) -> None:
    """Build the image with further build arguments, with Docker's progress. Raises DockerError."""
    given = {"VERSION": VERSION, "COMMIT": commit(), **(arguments or {})}
    words = [f"--build-arg={name}={value}" for name, value in given.items()]
    command = ["docker", "build", "--network", "host", "--tag", tag, *words, "."]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise DockerError("The image could not be built: Docker's last lines say why.")


def commit() -> str:
    """Return what is built: the commit, marked where files differ from it."""
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return git_commit(os.environ) + ("-dirty" if status.stdout.strip() else "")


def layers(image: str = IMAGE) -> list[tuple[float, str]]:
    """Return the MB of each layer that holds something, and what for; the base first."""
    lines = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image)
    found = []
    for line in reversed(lines.splitlines()):
        size, _, made_by = line.partition(" ")
        if int(size) > 0:
            buys = next((what for words, what in LAYERS if words in made_by), "the base image")
            found.append((int(size) / 1e6, buys))
    return found


def report(image: str = IMAGE) -> str:
    """Return a table of the layers, and the size beyond the base."""
    found = layers(image)
    sizes = [size for size, _ in found]
    lines = [f"{size:>8.1f} MB   {buys}" for size, buys in found]
    return "\n".join(["", *lines, f"{sum(sizes[1:]):>8.1f} MB   over the base, of {sum(sizes):.1f} in all"])
