"""No response reaches the wrong request while clients pipeline and abort."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import BinaryIO

import pytest

from shared.models.activation.records import Activations
from shared.settings import Settings
from shared.treeshap.library import find_library
from tests.integration.api.api_client import API_KEY, Process

#: Clients at the same time, and seconds for which they run: SHAPBOX_RACE_SECONDS=180 before a release.
CLIENTS, SECONDS = 20, float(os.environ.get("SHAPBOX_RACE_SECONDS", "5"))
#: Requests that are sent at once, at most, and that a connection is used for.
MOST_AT_ONCE, MOST_TURNS = 6, 8
#: The share of responses at which a client breaks its connection off.
ABORTED = 0.03

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


@dataclass(frozen=True)
class Row:
    """A row, and the only right response to it."""

    body: bytes
    response: bytes


@pytest.fixture
def process(settings: Settings, start: Callable[[], Process], compiled: tuple[Path, Activations]) -> Process:
    """Start an api that explains rows itself."""
    shutil.copytree(compiled[0], settings.compiled_dir)
    compiled[1].write(settings.activations_file)
    return start()


@pytest.fixture
def rows(process: Process) -> list[Row]:
    """Explain rows with distinct responses one after the other."""
    chance = random.Random(1)
    found: dict[bytes, Row] = {}
    with contextlib.closing(HTTPConnection("127.0.0.1", process.port, timeout=30)) as connection:
        for _ in range(300):
            body = json.dumps(
                {"model": "diabetes", "rows": [[round(chance.uniform(0, 200), 3) for _ in range(10)]]}
            )
            headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/explain", body, headers)
            response = connection.getresponse()
            content = response.read()
            if response.status == 200:  # on a busy machine Redis may be slow
                found[content] = Row(body.encode(), content)
    assert len(found) > 200
    return list(found.values())


class Client:
    """Sends requests, each with an id and a row of its own, and checks each response."""

    def __init__(self, port: int, number: int, rows: list[Row]) -> None:
        self._port = port
        self._number = number
        self._rows = rows
        self._chance = random.Random(number)
        self._sent = 0
        self.answered = self.aborted = 0
        self.fault: str | None = None

    def run(self, until: float) -> None:
        while time.monotonic() < until and self.fault is None:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            # After an abort the rest of a response may be a reset.
            with contextlib.closing(connection), connection.makefile("rb") as reader:
                self._use(connection, reader)

    def _use(self, connection: socket.socket, reader: BinaryIO) -> None:
        for _ in range(self._chance.randrange(1, MOST_TURNS)):
            wanted = [self._request() for _ in range(self._chance.randrange(1, MOST_AT_ONCE))]
            self._send(connection, b"".join(request for request, _id, _response in wanted))
            for _request, request_id, response in wanted:
                if self._chance.random() < ABORTED:
                    self.aborted += 1
                    if self._chance.random() < 0.5:  # by a reset
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                self._check(reader, request_id, response)
                if self.fault is not None:
                    return

    def _send(self, connection: socket.socket, data: bytes) -> None:
        while data:
            size = self._chance.choice((7, 60, 1000, len(data)))
            connection.sendall(data[:size])
            data = data[size:]
            if self._chance.random() < 0.02:
                time.sleep(0.002)

    def _request(self) -> tuple[bytes, str, bytes | None]:
        self._sent += 1
        request_id = f"{self._number}-{self._sent}"
        headers = f"Host: x\r\nX-Request-Id: {request_id}\r\nAuthorization: Bearer {API_KEY}\r\n"
        form = self._chance.randrange(4)
        if form == 0:
            return f"GET /v1/models HTTP/1.1\r\n{headers}\r\n".encode(), request_id, None
        row = self._chance.choice(self._rows)
        head = f"POST /v1/explain HTTP/1.1\r\n{headers}Content-Type: application/json\r\n".encode()
        if form == 1:
            cut = self._chance.randrange(1, len(row.body))
            chunks = b"".join(
                b"%x\r\n%b\r\n" % (len(part), part) for part in (row.body[:cut], row.body[cut:])
            )
            return (
                head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
                request_id,
                row.response,
            )
        return head + b"Content-Length: %d\r\n\r\n" % len(row.body) + row.body, request_id, row.response

    def _check(self, reader: BinaryIO, request_id: str, response: bytes | None) -> None:
        status = reader.readline()
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        body = reader.read(int(headers.get(b"content-length", b"0")))
        if headers.get(b"x-request-id") != request_id.encode():
            self.fault = f"{request_id}: {status!r} {headers}"
        elif b" 200 " in status:
            self.answered += 1
            if response is not None and body != response:
                self.fault = f"{request_id}: {body!r} instead of {response!r}"
        elif b" 503 " not in status:  # on a busy machine Redis may be slow
            self.fault = f"{request_id}: {status!r} {body!r}"


def test_no_response_reaches_the_wrong_request(process: Process, rows: list[Row]) -> None:
    clients = [Client(process.port, number, rows) for number in range(CLIENTS)]
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 60)
        assert not thread.is_alive()
    assert [client.fault for client in clients if client.fault] == [], process.log.read_text()[-3000:]
    assert all(client.answered > 10 for client in clients)
    assert sum(client.aborted for client in clients) > CLIENTS
    assert process.http.get("/version").status == 200
    assert "Traceback" not in process.log.read_text()
