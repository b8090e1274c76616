"""ops/compose.yaml as it is: one api, some workers, Redis, and a server that speaks S3."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.container.engine import docker, docker_succeeds
from ops.lab.trial_appliance import free_ports
from ops.reached import Reached
from shapbox import NoAnswerError
from shared.build import ROOT
from tests.support.faults.submitted import eventually

#: The tests' additions to ops/compose.yaml.
OVERRIDES = Path(__file__).parent / "peers" / "compose.yaml"
#: Seconds that compose may take for one command.
COMPOSE_SECONDS = 400.0
#: Makes the bucket, inside the S3 server's container.
MAKE_BUCKET = (
    "import boto3; boto3.client('s3', endpoint_url='http://127.0.0.1:9000', region_name='us-east-1', "
    "aws_access_key_id='a', aws_secret_access_key='b').create_bucket(Bucket='shapbox')"
)


def compose_command() -> list[str] | None:
    """Return how compose is called here, or None."""
    if docker_succeeds("compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@dataclass(slots=True)
class Fleet(Reached):
    """All containers of one compose project. Keys are the tests' own."""

    project: str
    image: str
    peers: str
    compose: list[str]
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def url(self) -> str:  # type: ignore[override]  # it follows from the port
        """Where the api's published port answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """Return what .env would hold."""
        return {
            "SHAPBOX_IMAGE": self.image,
            "PEERS_IMAGE": self.peers,
            "PUBLISH": f"127.0.0.1:{self.port}",
            "REDIS_PASSWORD": "a-password-of-the-tests",
            "S3_ACCESS_KEY": "tests",
            "S3_SECRET_KEY": "a-secret-of-the-tests",
            "API_KEY": "an-api-key-of-the-tests",
            "ADMIN_API_KEY": "an-admin-key-of-the-tests",
            "METRICS_TOKEN": "a-metrics-token-of-the-tests",
        }

    def up(self, workers: int) -> None:
        """Start missing containers, so many of workers, and wait until each has a worker."""
        self._compose("up", "--detach", "--scale", f"worker={workers}")
        eventually(self._has_bucket, self.log_tail, seconds=300)
        eventually(lambda: self.workers_alive() == workers, self.log_tail, seconds=300)
        eventually(self.is_ready, self.log_tail, seconds=300)

    def down(self) -> None:
        """Remove everything, volumes included."""
        self._compose("down", "--volumes", "--timeout", "2")

    def containers(self, service: str) -> list[str]:
        """Return the running containers of a service, by id."""
        labels = [f"--filter=label=com.docker.compose.project={self.project}"]
        labels.append(f"--filter=label=com.docker.compose.service={service}")
        return docker("ps", "--quiet", "--no-trunc", *labels).split()

    def workers_alive(self) -> int:
        """Return how many workers light a heartbeat."""
        try:
            return int(self.get("/readyz").json()["probes"]["workers"].get("alive", 0))
        except NoAnswerError:
            return 0

    def cut_off(self, container: str, seconds: float) -> None:
        """Take a container off the network for so long."""
        network = f"{self.project}_default"
        docker("network", "disconnect", network, container)
        time.sleep(seconds)
        docker("network", "connect", network, container)

    def cpu(self) -> str:
        """Return how busy each container is, as the engine says: 100 % is one core."""
        listing = docker("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}}")
        ours = [line for line in listing.splitlines() if line.startswith(self.project)]
        return ", ".join(sorted(line[len(self.project) + 1 :] for line in ours))

    def key(self, name: str) -> str:
        """Return a key."""
        return self.settings[name]

    def log(self) -> str:
        """Return all that the containers have printed."""
        return self._compose("logs", "--no-color")

    def _has_bucket(self) -> bool:
        found = self.containers("s3")
        return bool(found) and docker_succeeds("exec", found[0], "python", "-c", MAKE_BUCKET)

    def _compose(self, *words: str) -> str:
        files = ["--file", str(ROOT / "ops" / "compose.yaml"), "--file", str(OVERRIDES)]
        done = subprocess.run(
            [*self.compose, "--project-name", self.project, *files, *words],
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPOSE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout
