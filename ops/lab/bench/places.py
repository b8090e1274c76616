"""The places where a whole appliance is measured: natively, or in its container of 512 MB."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.container.box import Box
from ops.container.slow_model import FILE_MODE, FOLDER_MODE
from ops.lab.bench.trained import Shape, train
from ops.lab.trial_appliance import Appliance, free_ports
from ops.models.importing import add_model
from ops.models.options import ImportOptions
from shared.models.version import ModelVersion


@contextmanager
def trained_models(shapes: Sequence[Shape]) -> Iterator[tuple[Path, dict[Shape, ModelVersion]]]:
    """Train a model of each shape and add it to a folder that is removed after the block."""
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-models-") as folder:
        models = Path(folder) / "models"
        models.mkdir()
        versions = {shape: _add(models, Path(folder), shape) for shape in shapes}
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        yield models, versions


def _add(models: Path, folder: Path, shape: Shape) -> ModelVersion:
    booster, _ = train(shape)
    name = f"depth{shape.depth}-trees{shape.trees}-features{shape.features}"
    file = folder / f"{name}.ubj"
    booster.save_model(file)
    return add_model(models, ImportOptions(name, file))


@contextmanager
def native(models: Path, settings: Mapping[str, str]) -> Iterator[Appliance]:
    """Run an appliance on this machine while the block runs."""
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        appliance = Appliance(Path(folder) / "data", {"MODELS_DIR": str(models), **settings})
        appliance.start()
        try:
            yield appliance
        finally:
            appliance.stop()


@contextmanager
def contained(models: Path, settings: Mapping[str, str], image: str) -> Iterator[Box]:
    """Run one in a container of 512 MB during the block. Raises DockerError without Docker."""
    name, port = f"shapbox-bench-{secrets.token_hex(4)}", free_ports(1)[0]
    environment = {"MODELS_DIR": "/models", "API_KEY": secrets.token_hex(16), **settings}
    box = Box(name, port, name, environment, [f"--volume={models}:/models:ro"], image=image)
    try:
        box.run()
        box.await_ready()
        yield box
    finally:
        box.remove(with_data=True)
