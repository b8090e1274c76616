"""No response reaches the wrong request while clients pipeline and abort."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from shared.models.activation.records import Activations
from shared.settings import Settings
from shared.treeshap.library import find_library
from tests.integration.api.api_client import API_KEY, Process
from tests.integration.api.served import Connection

#: Clients at the same time, and seconds for which they run: SHAPBOX_RACE_SECONDS=180 before a release.
CLIENTS, SECONDS = 12, float(os.environ.get("SHAPBOX_RACE_SECONDS", "2"))
#: Requests that are sent at once, at most, and that a connection is used for.
MOST_AT_ONCE, MOST_TURNS = 6, 8
#: The share of responses at which a client breaks its connection off.
ABORTED = 0.03

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")

#: Bodies, each with the only right response to it.
type Rows = list[tuple[bytes, bytes]]


@pytest.fixture
def process(settings: Settings, compiled: tuple[Path, Activations]) -> Iterator[Process]:
    """Start an api that explains rows itself."""
    shutil.copytree(compiled[0], settings.compiled_dir)
    compiled[1].write(settings.activations_file)
    with Process(settings) as process:
        yield process


@pytest.fixture
def rows(process: Process) -> Rows:
    """Explain rows with distinct responses one after the other."""
    chance = random.Random(1)
    found: dict[bytes, bytes] = {}
    while len(found) < 100:
        row = [round(chance.uniform(0, 200), 3) for _ in range(10)]
        body = json.dumps({"model": "diabetes", "rows": [row]}).encode()
        reply = process.http.post_json("/v1/explain", body)
        if reply.status == 200:  # on a busy machine Redis may be slow
            found[reply.body] = body
    return [(body, response) for response, body in found.items()]


class Client:
    """Sends requests, each with an id and a row of its own, and checks each response."""

    def __init__(self, port: int, number: int, rows: Rows) -> None:
        self._port = port
        self._number = number
        self._rows = rows
        self._chance = random.Random(number)
        self._sent = 0
        self.answered = self.aborted = 0
        self.fault: str | None = None

    def run(self, until: float) -> None:
        while time.monotonic() < until and self.fault is None:
            # After an abort the rest of a response may be a reset.
            with Connection(self._port) as connection, connection.makefile("rb") as reader:
                for _ in range(self._chance.randrange(1, MOST_TURNS)):
                    if not self._take_turn(connection, reader):
                        break

    def _take_turn(self, connection: Connection, reader: BinaryIO) -> bool:
        """Send some requests at once, and read their responses; return whether it may go on."""
        wanted = [self._request() for _ in range(self._chance.randrange(1, MOST_AT_ONCE))]
        data = b"".join(request for request, _id, _response in wanted)
        while data:
            size = self._chance.choice((7, 60, 1000, len(data)))
            connection.sendall(data[:size])
            data = data[size:]
        for _request, request_id, response in wanted:
            if self._chance.random() < ABORTED:
                self.aborted += 1
                if self._chance.random() < 0.5:  # by a reset
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            self._check(reader, request_id, response)
        return self.fault is None

    def _request(self) -> tuple[bytes, str, bytes | None]:
        """Return a request, its id, and the response to it if only one is right."""
        self._sent += 1
        request_id = f"c{self._number}-{self._sent}"
        headers = f"Host: x\r\nX-Request-Id: {request_id}\r\nAuthorization: Bearer {API_KEY}\r\n"
        form = self._chance.randrange(4)
        if form == 0:
            return f"GET /v1/models HTTP/1.1\r\n{headers}\r\n".encode(), request_id, None
        body, response = self._chance.choice(self._rows)
        framing = b"Content-Length: %d" % len(body)
        if form == 1:
            cut = self._chance.randrange(1, len(body))
            parts = (body[:cut], body[cut:], b"")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            framing = b"Transfer-Encoding: chunked"
        head = f"POST /v1/explain HTTP/1.1\r\n{headers}Content-Type: application/json\r\n".encode()
        return head + framing + b"\r\n\r\n" + body, request_id, response

    def _check(self, reader: BinaryIO, request_id: str, response: bytes | None) -> None:
        status = reader.readline()
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        body = reader.read(int(headers.get(b"content-length", b"0")))
        if headers.get(b"x-request-id") != request_id.encode():
            self.fault = f"{request_id}: {status!r} {headers}"
        elif b" 200 " in status and response in {None, body}:
            self.answered += 1
        elif b" 503 " not in status:  # on a busy machine Redis may be slow
            self.fault = f"{request_id}: {status!r} {body!r} instead of {response!r}"


def test_no_response_reaches_the_wrong_request(process: Process, rows: Rows) -> None:
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
