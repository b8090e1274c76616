"""The image: built from this folder, and told apart layer by layer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from ops.container.box import IMAGE
from ops.container.engine import DockerError, docker
from shared.build import ROOT, VERSION, git_commit

#: The purpose of each layer, by words of its command. The first that fits tells.
LAYERS = (
    ("/opt/shapbox/venv", "the locked packages, compiled to bytecode, without their tests"),
    ("/opt/shapbox/app", "Shapbox itself, and its models"),
    ("redis-server", "Python, Redis and a font from Debian, the plain user, /data"),
)
#: Packages in the environment that are listed, the largest first.
LISTED = 12
SITE_PACKAGES = "/opt/shapbox/venv/lib/python3*/site-packages"


@dataclass(frozen=True, slots=True)
class Layer:
    """A step of the image's making, and the bytes that it added."""

    size: int
    made_by: str

    @property
    def buys(self) -> str:
        """Say what the layer is for."""
        return next((what for words, what in LAYERS if words in self.made_by), "the base image")


def build(tag: str = IMAGE, arguments: Mapping[str, str] | None = None) -> None:
    """Build the image with further build arguments, with Docker's progress. Raises DockerError."""
    given = {"VERSION": VERSION, "COMMIT": commit(), **(arguments or {})}
    words = ["build", "--network", "host", "--tag", tag]
    words += [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")] + ["."]
    if subprocess.run(["docker", *words], cwd=ROOT, check=False).returncode != 0:
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
    parts = [line.partition(" ") for line in lines.splitlines()]
    return [Layer(int(size), made_by) for size, _, made_by in reversed(parts) if int(size) > 0]


def report(image: str = IMAGE) -> str:
    """Return a table of the layers, of the size beyond the base, and of the largest packages."""
    found = layers(image)
    added = sum(layer.size for layer in found[1:])
    lines = ["", "layer                MB   what it buys"]
    lines += [f"{number:<12}{layer.size / 1e6:>11.1f}   {layer.buys}" for number, layer in enumerate(found)]
    lines += [f"over the base{added / 1e6:>10.1f}   of {sum(layer.size for layer in found) / 1e6:.1f} in all"]
    lines += ["", "largest packages     MB"]
    sizes = _package_sizes(image)
    lines += [f"  {name:<12}{size / 1e3:>9.1f}" for name, size in sizes[:LISTED]]
    return "\n".join(lines)


def _package_sizes(image: str) -> list[tuple[str, int]]:
    """Return the environment's folders with their KB, a package together with its libraries."""
    listing = docker("run", "--rm", "--entrypoint=sh", image, "-c", f"du -sk {SITE_PACKAGES}/*/")
    sizes: dict[str, int] = {}
    for line in listing.splitlines():
        size, path = line.split("\t")
        name = path.rstrip("/").rpartition("/")[2].removesuffix(".libs")
        if not name.endswith(".dist-info"):
            sizes[name] = sizes.get(name, 0) + int(size)
    return sorted(sizes.items(), key=lambda item: -item[1])
