"""The service behind the fake's deploys: the real appliance on one port and one disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.lab.trial_appliance import Appliance, free_ports
from shared.build import ROOT
from tests.integration.deploy.fake_render import VARIABLES


class RealService:
    """Runs one deploy's commit with the service's variables, as on Render with a disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port, metrics_port = free_ports()
        self._settings = {"PORT": str(port), "METRICS_PORT": str(metrics_port), **VARIABLES}
        self.url = f"http://127.0.0.1:{port}"
        self._running: Appliance | None = None

    def serve(self, commit: str, **settings: str) -> None:
        """Let the old container end, and start one of this commit."""
        self.stop()
        told = {"RENDER_GIT_COMMIT": commit, **self._settings, **settings}
        self._running = Appliance(self._folder / "data", told)
        self._running.start()

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def models_with_a_broken_one(self) -> str:
        """Return a folder of models of which one is damaged."""
        folder = self._folder / "models"
        if not folder.exists():
            shutil.copytree(ROOT / "models", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            model = next(folder.glob("diabetes/*/model.ubj"))
            model.write_bytes(model.read_bytes()[:-100])
        return str(folder)
