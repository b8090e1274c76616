"""Makes the n-th call to Redis fail: before it, after it, or by an answer of Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any
from unittest import mock

import redis
from redis.connection import AbstractConnection

from tests.search.faults.block import Block, Kind

#: A script that never ends by itself, and the milliseconds after which Redis answers BUSY meanwhile.
ENDLESS, BUSY_MS = "while true do end", 1


class RedisFault(StrEnum):
    """How a call fails."""

    #: The connection breaks before the call is sent.
    UNSENT = "unsent"
    #: The call is carried out, and the connection breaks before the answer.
    UNANSWERED = "unanswered"
    READONLY = "readonly"
    OOM = "oom"
    BUSY = "busy"


class FailingRedis:
    """Counts calls in this process, and makes those fail that the block names.

    `socket` is that of Redis.
    """

    def __init__(self, block: Block, socket: Path, fault: RedisFault) -> None:
        self._block = block
        self._socket = socket
        self._fault = fault

    def install(self) -> None:
        """Replace the way of redis-py to send."""
        send: Any = AbstractConnection.send_packed_command

        def failing(connection: Any, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
            if not self._strikes():
                send(connection, command, check_health)
                return
            if self._fault is RedisFault.UNSENT:
                connection.disconnect()
                raise redis.ConnectionError("a placed fault: not sent")
            # A connection is opened before, and by calls that count.
            with self._changed():
                send(connection, command, check_health)
                self._see_it_done()
            if self._fault is RedisFault.UNANSWERED:
                connection.disconnect()
                raise redis.ConnectionError("a placed fault: not answered")

        mock.patch.object(AbstractConnection, "send_packed_command", failing).start()

    def _strikes(self) -> bool:
        block = self._block
        if block.kind != Kind.REDIS:
            return False
        number = block.count
        block.count += 1
        strikes = block.first <= number < block.last
        block.struck += strikes
        return strikes

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        """Have Redis answer with the fault's error, as it is."""
        with self._uncounted(), self._client() as client:
            match self._fault:
                case RedisFault.READONLY:
                    client.replicaof("127.0.0.1", "1")
                    undo: Callable[[], object] = lambda: client.replicaof("no", "one")  # noqa: E731
                case RedisFault.OOM:
                    client.config_set("maxmemory", 1)
                    undo = lambda: client.config_set("maxmemory", 0)  # noqa: E731
                case RedisFault.BUSY:
                    undo = self._keep_busy(client)
                case _:
                    undo = lambda: None  # noqa: E731
            try:
                yield
            finally:
                undo()

    def _keep_busy(self, client: redis.Redis) -> Callable[[], object]:
        client.config_set("busy-reply-threshold", BUSY_MS)
        other = redis.Redis(unix_socket_path=str(self._socket))
        connection: Any = other.connection_pool.get_connection()
        connection.send_command("EVAL", ENDLESS, 0)
        while not self._is_busy(client):
            pass

        def undo() -> None:
            client.script_kill()
            with contextlib.suppress(redis.RedisError):  # the script was killed
                connection.read_response()
            connection.disconnect()
            other.close()

        return undo

    @staticmethod
    def _is_busy(client: redis.Redis) -> bool:
        try:
            client.ping()
        except redis.ResponseError:
            return True
        return False

    def _see_it_done(self) -> None:
        """Return when Redis has carried out what was sent before: it has answered twice since."""
        with self._client() as client:
            for _ in range(2):
                self._is_busy(client)

    @contextlib.contextmanager
    def _uncounted(self) -> Iterator[None]:
        kind, self._block.kind = self._block.kind, Kind.NOTHING
        try:
            yield
        finally:
            self._block.kind = kind

    @contextlib.contextmanager
    def _client(self) -> Iterator[redis.Redis]:
        client = redis.Redis(unix_socket_path=str(self._socket))
        try:
            yield client
        finally:
            client.close()
