"""Clients that keep an appliance at full load, and compare every value with XGBoost's own."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ops.lab.reached import Reached
from ops.lab.reference import EXACT, bare_explainer, distance
from shared.models.version import ModelVersion

NPY = {"Content-Type": "application/x-npy"}

type Matrix = NDArray[np.float32]


class ProofError(Exception):
    """Something that was to be proven is not so."""


@dataclass(slots=True)
class Load:
    """Clients, each with one job of all `rows` (rows x features) at a time, until `stop`."""

    appliance: Reached
    version: ModelVersion
    rows: Matrix
    jobs: int = 0
    largest_difference: float = 0.0
    faults: list[Exception] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int) -> None:
        """Explain the rows first, then let the clients begin."""
        reference = bare_explainer(self.version.model_path)(self.rows)
        self._threads = [threading.Thread(target=self._send_on, args=(reference,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client end its job. Raises ProofError if one of them met a fault."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self.faults:
            raise ProofError(f"A client failed: {self.faults[0]!r}\n{self.appliance.log_tail()}")

    def _send_on(self, reference: Matrix) -> None:
        try:
            while not self._stopped.is_set() and not self.faults:
                self._note(have_done(self.appliance, self.version, self.rows), reference)
        except Exception as fault:  # noqa: BLE001  # `stop` tells of it
            self.faults.append(fault)

    def _note(self, values: Matrix, reference: Matrix) -> None:
        apart = distance(values, reference)
        if apart > EXACT:
            raise ProofError(f"Values are up to {apart:.1e} apart from XGBoost's own.")
        with self._lock:
            self.jobs += 1
            self.largest_difference = max(self.largest_difference, apart)


def have_done(
    appliance: Reached, version: ModelVersion, rows: Matrix, look: Callable[[str], object] | None = None
) -> Matrix:
    """Send a job, wait, fetch its result and delete it; before that call `look` with its path.

    Returns rows x outputs * (features + 1) as float32. Raises ProofError if it is refused or does not complete.
    """
    body = io.BytesIO()
    np.save(body, rows)
    answer = appliance.call("POST", f"/v1/jobs?model={version.id}", body.getvalue(), headers=NPY)
    if answer.status != 202:
        raise ProofError(f"The rows were refused: {answer.status} {answer.body[:300]!r}")
    path, document = answer.headers["location"], answer.json()
    while not document["finished_at"]:
        document = appliance.get(f"{path}?wait=60").json()
    if document["status"] != "completed":
        raise ProofError(f"The job has {document['status']}: {document['error']}")
    result = appliance.get(f"{path}/result", headers={"Accept": "application/x-npy"})
    if look is not None:
        look(path)
    appliance.call("DELETE", path)
    values: Matrix = np.load(io.BytesIO(result.body))
    return values.reshape(len(values), -1)
