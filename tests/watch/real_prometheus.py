"""Debian's Prometheus and promtool; the shipped configuration with seconds for minutes."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.lab.trial_appliance import free_ports
from shapbox import NoAnswerError, Shapbox
from tests.support.faults.submitted import PATIENCE, eventually
from tests.support.shipped import PROMETHEUS

#: Set to `required` where the absence of Prometheus is a failure and no skip.
REQUIRED = "SHAPBOX_PROMETHEUS_TESTS"
#: Seconds between two scrapes, and two evaluations of the rules.
INTERVAL = "1s"
#: Seconds of a window at least: it must hold two scrapes.
SHORTEST = 2
#: The values of the dashboard's variables.
VARIABLES = {"$__rate_interval": "10s", "$job": "shapbox", "$instance": ".+"}

type Sample = dict[str, Any]


def program(name: str) -> str:
    """Return the path of a program of Debian's `prometheus`; skip or fail if missing."""
    if path := shutil.which(name):
        return path
    said = f"{name} is not here (apt-get install prometheus)"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {said}")
    pytest.skip(said)


def promtool(*words: str, given: bytes = b"") -> str:
    """Run promtool; fail with what it says unless it is content."""
    ended = subprocess.run([program("promtool"), *words], input=given, capture_output=True, check=False)
    said = ended.stdout.decode() + ended.stderr.decode()
    assert ended.returncode == 0, said
    return said


class Prometheus:
    """Asked over its HTTP API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._server = Shapbox(self.url, "")

    def is_ready(self) -> bool:
        """Return whether it answers questions."""
        try:
            return self._server.call("GET", "/-/ready").status == 200
        except NoAnswerError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer."""
        said = self._server.call("GET", f"{path}?{urllib.parse.urlencode(parameters)}").json()
        assert said["status"] == "success", said
        return said["data"]

    def samples(self, expression: str) -> list[Sample]:
        """Return what an expression gives now, without what is not a number."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [sample for sample in found if not math.isnan(float(sample["value"][1]))]

    def metrics(self) -> set[str]:
        """Return our metrics that there are now."""
        names = {sample["metric"]["__name__"] for sample in self.samples('{__name__=~"shapbox_.+"}')}
        return {re.sub("_(bucket|count|sum)$", "", name) for name in names}

    def types(self) -> dict[str, str]:
        """Return the type of each of our metrics."""
        found = self.get("/api/v1/metadata")
        types = {name: one[0]["type"] for name, one in found.items() if name.startswith("shapbox_")}
        # OpenMetrics, which Prometheus asks for, names a counter without its suffix.
        return {name + ("_total" if kind == "counter" else ""): kind for name, kind in types.items()}

    def fired(self, seconds: float) -> set[str]:
        """Return the alerts that have fired in the last so many seconds."""
        window = f"[{max(SHORTEST, math.ceil(seconds))}s]"
        found = self.samples(f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}{window}))')
        return {sample["metric"]["alertname"] for sample in found}

    def wait_for(self, alerts: set[str], since: float, seconds: float = PATIENCE) -> None:
        """Wait until all of these alerts have fired since a time on the monotonic clock."""
        eventually(
            lambda: alerts <= self.fired(time.monotonic() - since),
            lambda: f"{alerts - self.fired(time.monotonic() - since)} did not fire",
            seconds,
        )


@contextmanager
def running(folder: Path, configuration: str, url: str, token: str = "") -> Iterator[Prometheus]:
    """Run Prometheus with a shipped configuration for an address; its files are below `folder`."""
    [port] = free_ports(1)
    file = _configure(folder, configuration, url, token)
    command = [program("prometheus"), f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--storage.tsdb.path={folder / 'series'}", "--log.level=warn"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    prometheus = Prometheus(port)
    try:
        eventually(prometheus.is_ready, (folder / "prometheus.log").read_text)
        yield prometheus
    finally:
        process.kill()
        process.wait(60)


def _configure(folder: Path, name: str, url: str, token: str) -> Path:
    """Copy the shipped files for the address, with seconds for minutes; return the path."""
    scheme, _, target = url.partition("://")
    (folder / "rules").mkdir(parents=True)
    for file in (PROMETHEUS / "rules").glob("*.yml"):
        (folder / "rules" / file.name).write_text(in_seconds(file.read_text()))
    (folder / "metrics-token").write_text(token)
    configuration = yaml.safe_load((PROMETHEUS / name).read_text())
    configuration["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    [job] = configuration["scrape_configs"]
    job |= {"scheme": scheme, "static_configs": [{"targets": [target]}]}
    (folder / name).write_text(yaml.safe_dump(configuration))
    return folder / name


def in_seconds(rules: str) -> str:
    """Return the rules with a second for each minute of their windows and patience."""
    minutes = {"m": 1, "h": 60}

    def shorter(found: re.Match[str]) -> str:
        before, number, unit, after = found.groups()
        return f"{before}{max(SHORTEST, int(number) * minutes[unit])}s{after}"

    return re.sub(r"(\[|for: )(\d+)([mh])(\]|$)", shorter, rules, flags=re.MULTILINE)


def filled_in(expression: str) -> str:
    """Return a query of the dashboard with its variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
