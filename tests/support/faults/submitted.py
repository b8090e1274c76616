"""Jobs that a test sends to a trial appliance, and checks to the last value."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

from ops.lab.reference import EXACT, bare_explainer, distance
from ops.reached import Reached
from shapbox import NoAnswerError, Response
from shared.appliance.counters import Counters
from shared.build import ROOT
from shared.jobs import keys
from shared.metrics import SEPARATOR
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion

type Matrix = NDArray[np.float32]

#: Rows of a batch, and the settings that make it so for every engine: faults want many batches, not many rows.
BATCH_ROWS = 500
SMALL_BATCHES: Mapping[str, str] = {"BATCH_ROWS": str(BATCH_ROWS)}
#: Seconds within which the effect of any fault must be over, on a busy machine.
PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was accepted, with the rows that it explains."""

    appliance: Reached
    id: str
    version: ModelVersion
    rows: Matrix

    @property
    def batches(self) -> int:
        """How many batches the rows make."""
        return -(-len(self.rows) // BATCH_ROWS)

    def document(self) -> dict[str, Any]:
        """Return the job document, asking again while the api or Redis is away."""
        return dict(_patiently(self.appliance, f"/v1/jobs/{self.id}").json())

    def finish(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait for the job's end and return its document."""
        ended = eventually(
            lambda: document if (document := self.document())["finished_at"] else None,
            self.appliance.log_tail,
            seconds,
        )
        return dict(ended)

    def wait_for(self, batches: int) -> None:
        """Wait until so many batches are recorded."""
        eventually(lambda: self.document()["batches"]["completed"] >= batches, self.appliance.log_tail)

    def check_completed(self) -> None:
        """Fail unless the job completes with XGBoost's own value in every place."""
        document = self.finish()
        assert document["status"] == "completed", document
        assert document["batches"] == {"total": self.batches, "completed": self.batches}
        self.check_values()

    def check_values(self) -> None:
        """Fail unless every value is XGBoost's own."""
        answer = _patiently(self.appliance, f"/v1/jobs/{self.id}/result", {"Accept": "application/x-npy"})
        wanted = bare_explainer(self.version.model_path)(self.rows)
        values = np.load(io.BytesIO(answer.body)).reshape(wanted.shape)
        assert distance(values, wanted) <= EXACT


def submit(appliance: Reached, model: str, rows: int, seed: int = 7) -> Submitted:
    """Send so many rows and see them accepted."""
    version = ModelCatalog.load(ROOT / "models").get(model)
    matrix = shaken_examples(version, rows, seed)
    answer = appliance.call("POST", *as_request(version, matrix))
    assert answer.status == 202, answer
    return Submitted(appliance, str(answer.json()["id"]), version, matrix)


def as_request(
    version: ModelVersion, rows: Matrix, path: str = "/v1/jobs"
) -> tuple[str, bytes, None, dict[str, str]]:
    """Return path, body, key and headers of the call that submits the rows."""
    body = io.BytesIO()
    np.save(body, rows)
    return f"{path}?model={version.id}", body.getvalue(), None, {"Content-Type": "application/x-npy"}


def shaken_examples(version: ModelVersion, rows: int, seed: int = 7) -> Matrix:
    """Return so many different rows: the model's examples, each number changed by up to 10 %."""
    examples = np.load(version.examples_path or "")
    generator = np.random.default_rng(seed)
    picked = examples[generator.integers(0, len(examples), rows)]
    return np.asarray(picked * generator.uniform(0.9, 1.1, picked.shape), dtype=np.float32)


def eventually(
    condition: Callable[[], Any], explanation: Callable[[], object] = str, seconds: float = PATIENCE
) -> Any:
    """Return the condition's answer once it is true; fail with the explanation after a time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not after {seconds} s\n{explanation()}"
        time.sleep(0.05)
    return answer


def counters(connection: redis.Redis) -> dict[str, float]:
    """Return all counters, by name and labels."""
    return {SEPARATOR.join(name): value for name, value in Counters(connection).read().items()}


def nothing_is_left(connection: redis.Redis) -> bool:
    """Return whether no batch is held and none waits."""
    waiting = sum(connection.llen(f"rq:queue:{lane}") for lane in ("interactive", "bulk"))
    return connection.hlen(keys.RUNNING) == 0 and waiting == 0


def _patiently(appliance: Reached, path: str, headers: dict[str, str] | None = None) -> Response:
    """Get a path, asking again while the api or Redis is away."""

    def ask() -> Response | None:
        try:
            answer = appliance.get(path, headers=headers)
        except NoAnswerError:
            return None
        if answer.status == 503:
            return None
        assert answer.status == 200, answer
        return answer

    answer = eventually(ask, appliance.log_tail)
    assert isinstance(answer, Response)
    return answer
