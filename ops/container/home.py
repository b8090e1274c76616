"""The container of `make up`: its name, its settings, and what is printed about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ops.container.box import Box
from shared.settings import SETTING_NAMES, Settings

#: The container's name, and the volume that keeps its jobs and keys.
NAME, VOLUME = "shapbox", "shapbox-data"
#: Settings that say where something is on this machine, and not in the container.
OUTSIDE = frozenset({"PORT", "HOST", "DATA_DIR", "MODELS_DIR"})
#: Variables for a remote object store.
STORES = ("AWS_", "GOOGLE_", "AZURE_")
#: Where the container finds models of one's own.
INNER_MODELS = "/models"


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


def announcement(box: Box, seconds: float) -> str:
    """Say what a person needs next."""
    key = box.api_key
    return "\n".join(
        [
            f"Shapbox is ready at {box.url} after {seconds:.1f} s, in {box.memory_mb} MB",
            f"  key   {key}",
            f"  docs  {box.url}/docs",
            "  try",
            f'curl -s -H "Authorization: Bearer {key}" {box.url}/v1/models',
            "",
            f"make logs follows it, make down stops it; the volume {box.volume} keeps its jobs and keys.",
        ]
    )


def gone(box: Box, seconds: float) -> str:
    """Say what is left."""
    return (
        f"Stopped after {seconds:.1f} s. The volume {box.volume} keeps jobs and keys: make up goes on with them, "
        f"docker volume rm {box.volume} forgets them."
    )


def _given(environment: Mapping[str, str], name: str) -> str:
    file = environment.get(f"{name}_FILE", "").strip()
    return Path(file).read_text(encoding="utf-8").strip() if file else environment.get(name, "").strip()
