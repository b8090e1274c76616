"""The appliance that is measured: its REST side, its files and its processes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
import psutil
from numpy.typing import NDArray

from shared.memory import process_pss_bytes
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: Seconds between two looks at the processes' memory.
SAMPLE_SECONDS = 0.1


class MeasureError(Exception):
    """The measurement cannot be made, or a value is wrong."""


@dataclass(frozen=True, slots=True)
class Appliance:
    """One that runs on this machine."""

    url: str
    key: str
    settings: Settings

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that is kept open between requests."""
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=300)

    def request(  # one call of the REST contract
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Send one request; the caller reads the answer. Raises MeasureError if it is refused."""
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise MeasureError(f"{method} {path} was refused with {answer.status}: {answer.read(500)!r}")
        return answer

    def json(self, connection: http.client.HTTPConnection, method: str, path: str) -> Any:
        """Return the JSON of one call without a body."""
        return json.loads(self.request(connection, method, path).read())

    def model(self, name: str) -> ModelVersion:
        """Return a model of this machine's catalog."""
        return ModelCatalog.load(self.settings.models_dir, self.settings.placeholders_dir).get(name)

    def programs(self) -> dict[str, int]:
        """Return the process ids of supervisord's children by what they run."""
        pid = int((self.settings.run_dir / "supervisord.pid").read_text(encoding="ascii"))
        found: dict[str, int] = {}
        for child in psutil.Process(pid).children():
            line = " ".join(child.cmdline())
            for name in ("redis-server", "services.api", "services.monitor", "worker-"):
                if name in line:
                    found[f"worker-{line[-1]}" if name == "worker-" else name] = child.pid
        return found

    @contextmanager
    def peaks(self) -> Iterator[dict[str, int]]:
        """Fill the given mapping with each program's highest PSS in bytes while the block runs."""
        peaks: dict[str, int] = {}
        stopped = threading.Event()
        programs = self.programs()

        def watch() -> None:
            while not stopped.wait(SAMPLE_SECONDS):
                for name, pid in programs.items():
                    peaks[name] = max(peaks.get(name, 0), process_pss_bytes(pid))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield peaks
        finally:
            stopped.set()
            thread.join()


def example_rows(version: ModelVersion, rows: int) -> NDArray[np.float32]:
    """Return so many rows: the model's examples over and over, each number shaken by up to 1 %."""
    if version.examples_path is None:
        raise MeasureError(f"{version.id} has no example rows.")
    examples = np.load(Path(version.examples_path))
    generator = np.random.default_rng(20261123)
    picked = examples[generator.integers(0, len(examples), rows)]
    return np.asarray(picked * generator.uniform(0.99, 1.01, picked.shape), dtype=np.float32)
