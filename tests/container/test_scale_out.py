"""ops/compose.yaml as it is: one api, three workers, Redis, and a server that speaks S3."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ops.container.engine import docker, docker_succeeds
from ops.lab.trial_appliance import free_ports
from ops.reached import Reached
from shapbox import NoAnswerError
from shared.build import ROOT
from shared.timing import TIMING
from tests.container.conftest import Say, missing
from tests.support.faults.submitted import BATCH_ROWS, eventually, submit

#: The tests' additions to ops/compose.yaml.
OVERRIDES = Path(__file__).parent / "peers" / "compose.yaml"
#: Seconds that compose may take for one command.
COMPOSE_SECONDS = 400.0
#: Makes the bucket, inside the S3 server's container.
MAKE_BUCKET = (
    "import boto3; boto3.client('s3', endpoint_url='http://127.0.0.1:9000', region_name='us-east-1', "
    "aws_access_key_id='a', aws_secret_access_key='b').create_bucket(Bucket='shapbox')"
)
#: Worker containers, batches of the job that meets the faults, and how many of them are recorded by then.
WORKERS, BATCHES, STRUCK_AT = 3, 400, 40
#: Seconds that a worker container is cut off the network: it loses its lease.
CUT_SECONDS = TIMING.heartbeat_lease_seconds + 4


class Fleet(Reached):
    """All containers of one compose project. Keys are the tests' own."""

    def __init__(self, compose: list[str], image: str, peers: str) -> None:
        self.project = f"shapbox-test-{os.getpid()}"
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self.url = f"http://{address}"
        self._compose_words = compose
        #: The lines of .env.
        self._settings: Mapping[str, str] = {
            "SHAPBOX_IMAGE": image,
            "PEERS_IMAGE": peers,
            "PUBLISH": address,
            "REDIS_PASSWORD": "a-password-of-the-tests",
            "S3_ACCESS_KEY": "tests",
            "S3_SECRET_KEY": "a-secret-of-the-tests",
            "API_KEY": "an-api-key-of-the-tests",
            "ADMIN_API_KEY": "an-admin-key-of-the-tests",
            "METRICS_TOKEN": "a-metrics-token-of-the-tests",
        }

    def key(self, name: str) -> str:
        return self._settings[name]

    def log(self) -> str:
        return self.compose("logs", "--no-color")

    def compose(self, *words: str) -> str:
        files = ["--file", str(ROOT / "ops" / "compose.yaml"), "--file", str(OVERRIDES)]
        done = subprocess.run(
            [*self._compose_words, "--project-name", self.project, *files, *words],
            env={**os.environ, **self._settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPOSE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def containers(self, service: str) -> list[str]:
        """Return the running containers of a service, by id."""
        labels = [f"--filter=label=com.docker.compose.project={self.project}"]
        labels.append(f"--filter=label=com.docker.compose.service={service}")
        return docker("ps", "--quiet", "--no-trunc", *labels).split()

    def has_bucket(self) -> bool:
        found = self.containers("s3")
        return bool(found) and docker_succeeds("exec", found[0], "python", "-c", MAKE_BUCKET)

    def workers_alive(self) -> int:
        try:
            return int(self.get("/readyz").json().get("probes", {}).get("workers", {}).get("alive", 0))
        except NoAnswerError:
            return 0

    def cut_off(self, container: str) -> None:
        """Take a container off the network for a while."""
        network = f"{self.project}_default"
        docker("network", "disconnect", network, container)
        time.sleep(CUT_SECONDS)
        docker("network", "connect", network, container)

    def rows_explained(self) -> int:
        """Return how many rows were recorded, as the api's container exports it."""
        text = self.get("/metrics", key=self.metrics_token).body.decode()
        counts = re.findall(r"^shapbox_rows_explained_total\{[^}]*\} (\S+)$", text, re.MULTILINE)
        return round(sum(map(float, counts)))


@pytest.fixture
def fleet(image: str, peers: str) -> Iterator[Fleet]:
    plugin = docker_succeeds("compose", "version")
    if not plugin and not shutil.which("docker-compose"):
        missing("there is no docker compose here")
    running = Fleet(["docker", "compose"] if plugin else ["docker-compose"], image, peers)
    try:
        running.compose("up", "--detach", "--scale", f"worker={WORKERS}")
        eventually(running.has_bucket, running.log_tail)
        eventually(lambda: running.workers_alive() == WORKERS and running.is_ready(), running.log_tail)
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "2")


def test_a_job_is_exact_though_one_worker_container_dies_and_one_is_cut_off(fleet: Fleet, say: Say) -> None:
    job = submit(fleet, "breast-cancer", BATCHES * BATCH_ROWS)
    dying, cut, _ = fleet.containers("worker")
    job.wait_for(STRUCK_AT)
    cutting = threading.Thread(target=fleet.cut_off, args=(cut,))
    cutting.start()
    docker("kill", dying)
    started = time.monotonic()
    assert job.document()["batches"]["completed"] < BATCHES  # in the middle
    job.check_completed()
    cutting.join()
    say(f"one of three killed, one cut off: {BATCHES} batches exact after {time.monotonic() - started:.0f} s")
    rows = BATCHES * BATCH_ROWS
    eventually(lambda: fleet.rows_explained() >= rows, fleet.log_tail)
    time.sleep(3.0)  # counts are flushed once a second, and read once a second: a row too many would show
    assert fleet.rows_explained() == rows
    # Whether they had a batch in hand in that moment is chance; tests/appliance/test_roles.py sees to it that they do.
    # The container that was cut off is back by itself.
    eventually(lambda: fleet.workers_alive() == WORKERS - 1, fleet.log_tail)
