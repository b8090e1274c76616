"""An S3-compatible server: moto's, in its own process, with objects in memory."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from ops.lab.trial_appliance import free_ports
from shapbox import NoAnswerError, Response, Shapbox
from tests.support.redis_server import until

#: The bucket that is made at the start.
BUCKET = "rows"
#: Texts that must be in no log.
SECRET_KEY = "s3-secret-of-the-tests"


class S3Server:
    """Listens on loopback; lives until it is killed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self._log = folder / "s3.log"
        self.process: subprocess.Popen[bytes] | None = None

    def settings(self, port: int | None = None, folder: str = "shapbox") -> dict[str, str]:
        """Return what an appliance must be told; `port` of something in between."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/{folder}",
            "AWS_ENDPOINT": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "shapbox",
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "eu-central-1",
        }

    def start(self) -> None:
        """Start it and make the bucket."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        until(self._makes_bucket, seconds=60)

    def hold(self) -> None:
        """Stop it: connections are taken by the kernel, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def objects(self, folder: str = "") -> int:
        """Return the number of objects, below a folder (which ends in a slash) if given."""
        listing = self._call("GET", f"/{BUCKET}?list-type=2&prefix={quote(folder, safe='')}")
        assert listing.status == 200
        return listing.body.count(b"<Key>")

    def _call(self, method: str, path: str) -> Response:
        return Shapbox(f"http://127.0.0.1:{self.port}", "").call(method, path, seconds=10)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _makes_bucket(self) -> bool:
        with contextlib.suppress(NoAnswerError):
            return self._call("PUT", f"/{BUCKET}").status == 200
        return False
