"""Downloads over a connection that breaks, which go on where they ended."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import Shapbox

#: Rows whose values are streamed, and the bytes of answers after which each connection breaks.
ROWS, CUT_BYTES = 12_000, 300_000


@contextlib.contextmanager
def breaking(port: int) -> Iterator[str]:
    """Yield an address that passes connections on, and breaks each after some bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=pass_on, args=[client]).start()

        def pass_on(client: socket.socket) -> None:
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                request = client.recv(65536)  # the requests here are short
                server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                left = CUT_BYTES
                while left > 0 and (block := server.recv(min(left, 65536))):
                    client.sendall(block)
                    left -= len(block)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_the_client_and_curl_get_each_byte_of_a_result_over_connections_that_break(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("shapbox.repeats._FIRST_PAUSE", 0.01)
    with Shapbox(appliance.url, appliance.api_key) as box:
        job = box.submit([[float(row % 7)] * 10 for row in range(ROWS)], "diabetes").wait()
        whole = tmp_path / f"whole.{ending}"
        job.save(whole)
    assert whole.stat().st_size > CUT_BYTES
    with breaking(int(appliance.environment["PORT"])) as url:
        with Shapbox(url, appliance.api_key) as box:
            resumed = tmp_path / f"resumed.{ending}"
            box.job(job.id).save(resumed)
        assert resumed.read_bytes() == whole.read_bytes()
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not here")
        by_curl, statuses = tmp_path / "by-curl", set()
        media_type = {"csv": "text/csv", "npy": "application/x-npy"}[ending]
        headers = [f"Authorization: Bearer {appliance.api_key}", f"Accept: {media_type}"]
        words = [curl, "-s", "-C", "-", "-o", str(by_curl), f"{url}/v1/jobs/{job.id}/result"]
        for header in headers:
            words += ["-H", header]
        for _ in range(1 + whole.stat().st_size // (CUT_BYTES - 2000)):  # less its head
            statuses.add(subprocess.run(words, check=False).returncode)
            if by_curl.stat().st_size == whole.stat().st_size:
                break
        assert by_curl.read_bytes() == whole.read_bytes()
        assert statuses <= {0, 18, 56}  # whole, or broken off
