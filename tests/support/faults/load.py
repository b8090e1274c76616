"""Clients that ask a trial appliance without a pause, and write down every answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ops.lab.trial_appliance import Appliance
from shapbox import NoAnswerError, Response, Shapbox
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.support.faults.submitted import Submitted, as_request, shaken_examples

#: Seconds between two calls of one client, and of the one that submits: the queue must not only grow.
PAUSE, SUBMIT_PAUSE = 0.05, 0.25
#: Seconds after which a call is given up: far longer than any answer may take.
GIVE_UP = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: its start (monotonic), its seconds, and its answer; status 0 without any."""

    what: str
    at: float
    seconds: float
    status: int
    retry_after: str | None
    body: bytes


class Load:
    """Submits and reads jobs and polls health in threads of its own during the block."""

    def __init__(self, appliance: Appliance, model: str, rows: Sequence[int]) -> None:
        self.asked: list[Asked] = []
        self.accepted: list[Submitted] = []
        self._appliance = appliance
        self._box = Shapbox(appliance.url, appliance.api_key)
        self._version = ModelCatalog.load(ROOT / "models").get(model)
        self._rows = rows
        self._stopped = threading.Event()
        clients = (self._submit, self._read_job, self._readyz, self._healthz)
        self._threads = [threading.Thread(target=self._go_on, args=(client,)) for client in clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def slowest(self) -> dict[str, float]:
        """Return the longest time that each kind of call took."""
        kinds = sorted({asked.what for asked in self.asked})
        return {kind: round(max(a.seconds for a in self.asked if a.what == kind), 2) for kind in kinds}

    def statuses(self) -> dict[str, dict[int, int]]:
        """Return how often each kind of call was answered with each status."""
        kinds: dict[str, dict[int, int]] = {}
        for asked in list(self.asked):
            found = kinds.setdefault(asked.what, {})
            found[asked.status] = found.get(asked.status, 0) + 1
        return kinds

    def _go_on(self, client: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            client()
            self._stopped.wait(PAUSE)

    def _submit(self) -> None:
        number = len(self.accepted)
        rows = shaken_examples(self._version, self._rows[number % len(self._rows)], number)
        path, body, _, headers = as_request(self._version, rows)
        answer = self._ask("POST job", "POST", path, body, headers)
        if answer is not None and answer.status == 202:
            self.accepted.append(Submitted(self._appliance, str(answer.json()["id"]), self._version, rows))
        self._stopped.wait(SUBMIT_PAUSE)

    def _read_job(self) -> None:
        if self.accepted:
            self._ask("GET job", "GET", f"/v1/jobs/{self.accepted[-1].id}")

    def _readyz(self) -> None:
        self._ask("readyz", "GET", "/readyz")

    def _healthz(self) -> None:
        self._ask("healthz", "GET", "/healthz")

    def _ask(
        self,
        what: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response | None:
        started = time.monotonic()
        try:
            answer = self._box.call(method, path, body, headers, GIVE_UP)
        except NoAnswerError as fault:
            self._note(what, started, Response(0, {}, repr(fault).encode()))
            return None
        self._note(what, started, answer)
        return answer

    def _note(self, what: str, started: float, answer: Response) -> None:
        seconds = time.monotonic() - started
        retry_after = answer.headers.get("retry-after")
        self.asked.append(Asked(what, started, seconds, answer.status, retry_after, answer.body[:500]))
