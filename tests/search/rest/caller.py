"""Calls an appliance under faults until it answers, and checks each answer."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.lab.trial_appliance import Appliance
from shapbox import NoAnswerError, Response
from tests.support.openapi_contract import contract

#: Refusals that say: not now.
NOT_NOW = frozenset({429, 503, 507})
#: Seconds within which a call is answered after any fault, on a busy machine.
PATIENCE = 120.0
#: Seconds between two attempts, at most.
PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """A definite answer, and how many attempts before it may have been carried out."""

    response: Response
    unsure: int

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def slug(self) -> str:
        return str(self.json["type"]).removeprefix("/problems/")

    @property
    def json(self) -> Any:
        return self.response.json()


class Caller:
    """Repeats what was not answered or was refused for now, and writes down every call."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self.history: list[str] = []
        self.calls = 0

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the first answer that is not "not now"."""
        deadline, unsure = time.monotonic() + PATIENCE, 0
        while True:
            response = self.attempt(method, path, body, key, headers)
            if response is None:
                unsure += 1
            elif response.status not in NOT_NOW:
                return Answer(response, unsure)
            else:
                assert 0 < int(response.headers["retry-after"]) <= 120
                unsure += response.status == 503  # an outage around the acceptance leaves it open
            assert time.monotonic() < deadline, f"{method} {path} is not served after {PATIENCE} s"
            time.sleep(PAUSE)

    def attempt(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response | None:
        """Call once; None without an answer. Fails if the contract does not describe the answer."""
        self.calls += 1
        try:
            response = self._appliance.call(method, path, body, key, headers)
        except NoAnswerError as fault:
            self.note(f"{method} {path}: {fault}")
            return None
        self.note(f"{method} {path} {headers or ''}: {response.status} {response.body[:200]!r}")
        contract().check(method, path, response.status, response.headers, response.body)
        return response

    def cut_upload(self, path: str, body: bytes, headers: Mapping[str, str], *, reset: bool) -> None:
        """Send the first half of a body, then close or reset the connection."""
        self.note(f"cut POST {path}, {'reset' if reset else 'closed'}")
        port = int(self._appliance.environment["PORT"])
        authorization = f"Bearer {self._appliance.api_key}"
        fields = {"Host": "x", "Authorization": authorization, "Content-Length": str(len(body)), **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall("\r\n".join(lines).encode() + body[: len(body) // 2])
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError as fault:  # the api is away: nothing to cut
            self.note(f"  {fault}")

    def note(self, line: str) -> None:
        """Add a line to the history."""
        self.history.append(f"{time.monotonic():.3f} {line}")
