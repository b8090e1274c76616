"""A redis-server of a test's own, which it may kill, stop and start again."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import redis

from shared.settings import Settings


class RedisServer:
    """Listens on the settings' unix socket and writes an append-only file like the appliance.

    With Redis's own `everysec` what it has answered may reach the file two seconds later: shared/redis/aof_sync.py.
    """

    def __init__(self, settings: Settings) -> None:
        self.socket = settings.redis_socket
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        command += ["--dir", str(self.socket.parent), "--appendonly", "yes", "--appendfsync", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(unix_socket_path=str(self.socket))
        until(lambda: answers(client))
        client.close()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def until(condition: Callable[[], object], seconds: float = 60) -> float:
    """Wait for the condition; returns how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started
