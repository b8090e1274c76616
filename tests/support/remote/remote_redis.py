"""A Redis as on another machine: a TCP port, a password, and TLS with a certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import quote

import redis

from ops.lab.trial_appliance import free_ports
from tests.support.redis_server import answers, until
from tests.support.remote.certificates import Certificates, make_certificates

#: Characters that a URL must have percent-encoded, and a `%`, which trips some parsers.
PASSWORD = "p@ss/w#rd?100%"


class RemoteRedis:
    """Runs in a folder of its own, which stays when it ends."""

    def __init__(
        self, folder: Path, *, tls: bool = True, password: str = PASSWORD, options: tuple[str, ...] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._password = password
        self._options = options
        self.port = free_ports(1)[0]
        self.certificates: Certificates | None = make_certificates(folder / "tls") if tls else None
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, *, port: int | None = None, password: str | None = None, trusted: bool = True) -> str:
        """Return REDIS_URL; `port` of something in between, `trusted` to name the authority."""
        secret = quote(self._password if password is None else password, safe="")
        place = f"{f':{secret}@' if secret else ''}127.0.0.1:{port or self.port}/0"
        if self.certificates is None:
            return f"redis://{place}"
        return f"rediss://{place}" + (f"?ssl_ca_certs={self.certificates.authority}" if trusted else "")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen([*self._command()], stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url()) as client:
            until(lambda: answers(client))

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _command(self) -> list[str]:
        words = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        words += ["--dir", str(self._folder)]
        if self._password:
            words += ["--requirepass", self._password]
        if self.certificates is None:
            return [*words, "--port", str(self.port), *self._options]
        words += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
        words += ["--tls-cert-file", str(self.certificates.certificate)]
        words += ["--tls-key-file", str(self.certificates.key)]
        words += ["--tls-ca-cert-file", str(self.certificates.authority)]
        return [*words, *self._options]


class RemoteSentinel(RemoteRedis):
    """A Sentinel, which watches nothing and asks for no password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, tls=False, password="")

    def _command(self) -> list[str]:
        configuration = self._folder / "sentinel.conf"
        configuration.touch()
        return ["redis-server", str(configuration), "--sentinel", "--port", str(self.port)]
