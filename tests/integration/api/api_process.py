"""The api as a process of its own, without supervisord."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ops.lab.trial_appliance import free_ports
from ops.run.program_environment import GIVE_BACK
from shared.build import ROOT
from shared.settings import Settings
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, METRICS_TOKEN, OverHttp


class Process:
    """The api as its own process."""

    def __init__(self, settings: Settings, *program: str) -> None:
        """`program`: what Python is told to run instead of the api's own entry point."""
        self.port = free_ports(1)[0]
        environment = {
            **os.environ,
            **GIVE_BACK,
            "DATA_DIR": str(settings.data_dir),
            "PORT": str(self.port),
            "API_KEY": API_KEY,
            "ADMIN_API_KEY": ADMIN_API_KEY,
            "METRICS_TOKEN": METRICS_TOKEN,
        }
        self.tmp_dir = settings.tmp_dir
        self.log = Path(settings.data_dir, "api.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(program or ("-m", "services.api"))], cwd=ROOT, env=environment, stderr=log
            )
        self.http = OverHttp(self.port)

    def answers(self) -> bool:
        try:
            return self.http.get("/healthz").status == 200
        except OSError:
            return False
