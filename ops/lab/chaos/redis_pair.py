"""Two Redis servers behind one address, as where a hosted Redis fails over."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import redis

from ops.lab.network import Network
from ops.lab.trial_appliance import TrialError, free_ports

#: Seconds for a server to start, to follow the other, and to take over from it.
PATIENCE = 60.0


class RedisPair:
    """A primary and its replica; `url` leads to the primary, or to where it was a moment ago."""

    def __init__(self, folder: Path) -> None:
        self.ports = free_ports(2)
        self._servers = [_server(folder / f"redis-{port}", port) for port in self.ports]
        self._clients = [redis.Redis(port=port) for port in self.ports]
        self._open = contextlib.ExitStack()
        self._network = self._open.enter_context(Network(self.ports[0]))
        self.url = f"redis://127.0.0.1:{self._network.port}/0"
        _until(lambda: all(map(_answers, self._clients)))
        self._clients[1].replicaof("127.0.0.1", self.ports[0])
        _until(lambda: self._replication(1).get("master_link_status") == "up")

    def fail_over(self) -> None:
        """Swap the two in order, so that the new primary has all that the old one accepted.

        The address leads to the old one, a replica now, until `follow`.
        """
        self._clients[0].execute_command("FAILOVER")  # type: ignore[no-untyped-call]
        _until(lambda: self._replication(1)["role"] == "master")
        self.ports.reverse()
        self._servers.reverse()
        self._clients.reverse()

    def follow(self) -> None:
        """Let new connections reach the primary. Those that are open stay where they are."""
        self._network.server_port = self.ports[0]

    def stop(self) -> None:
        """End both."""
        self._open.close()
        for client, server in zip(self._clients, self._servers, strict=True):
            client.close()
            server.kill()
            server.wait()

    def _replication(self, place: int) -> dict[str, object]:
        return cast("dict[str, object]", self._clients[place].info("replication"))


def _server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    words = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    words += ["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TrialError(f"the pair of Redis servers did not get there in {PATIENCE:.0f} s")
        time.sleep(0.02)
