"""The image: built from this folder, and told apart layer by layer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

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


class Layer(NamedTuple):
    """A step of the image's making: the bytes that it added, and what for."""

    size: int
    buys: str


def build(tag: str = IMAGE, arguments: Mapping[str, str] | None = None) -> None:
    """Build the image with further build arguments, with Docker's progress. Raises DockerError."""
    given = {"VERSION": VERSION, "COMMIT": commit(), **(arguments or {})}
    words = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    command = ["docker", "build", "--network", "host", "--tag", tag, *words, "."]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise DockerError("The image could not be built: Docker's last lines say why.")


def commit() -> str:
    """Return what is built: the commit, marked where files differ from it."""
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return git_commit(os.environ) + ("-dirty" if status.stdout.strip() else "")


def layers(image: str = IMAGE) -> list[Layer]:
    """Return the image's layers that hold something, the base first."""
    lines = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image)
    found = []
    for line in reversed(lines.splitlines()):
        size, _, made_by = line.partition(" ")
        if int(size) > 0:
            buys = next((what for words, what in LAYERS if words in made_by), "the base image")
            found.append(Layer(int(size), buys))
    return found


def report(image: str = IMAGE) -> str:
    """Return a table of the layers, and the size beyond the base."""
    found = layers(image)
    sizes = [layer.size / 1e6 for layer in found]
    lines = ["", "layer                MB   what it buys"]
    lines += [f"{number:<12}{size:>11.1f}   {found[number].buys}" for number, size in enumerate(sizes)]
    lines += [f"over the base{sum(sizes[1:]):>10.1f}   of {sum(sizes):.1f} in all"]
    return "\n".join(lines)
