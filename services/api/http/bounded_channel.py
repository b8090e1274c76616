"""A connection whose answers take little of this process's memory, however slowly its client reads."""

from __future__ import annotations

from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel

from services.api.http.answer_buffers import bytes_in_memory, move_to_files

#: Bytes of an answer that a connection may keep after it is sent: to give them back and take them again costs a fifth of its time.
SMALL_BYTES = 64 * 1024


class BoundedChannel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. `most_kept` is how many bytes answers may take in memory, those of all connections together."""

    outbufs: list[Any]
    requests: list[Any]
    #: Bytes of answers that lay in this process's memory when the last of them was written.
    kept_bytes = 0

    def __init__(self, *args: Any, most_kept: int, **more: Any) -> None:
        self._most_kept = most_kept
        super().__init__(*args, **more)

    def service(self) -> None:
        """Answer one request."""
        super().service()
        self._let_go()

    def write_soon(self, data: Any) -> int:
        """Send, or keep until the client takes it: in memory, or in a file where much is kept for all connections."""
        written = int(super().write_soon(data))
        if self.total_outbufs_len:
            with self.outbuf_lock:
                if self.connected:
                    self._keep()
        return written

    def _keep(self) -> None:
        """Decide where the bytes that the client has not taken wait."""
        self.kept_bytes = bytes_in_memory(self.outbufs)
        # Whoever adds to the sum looks at it afterwards, so the last one sees all. A closed connection is not in the map.
        if sum(getattr(part, "kept_bytes", 0) for part in list(self._map.values())) > self._most_kept:
            move_to_files(self.outbufs)
            self.kept_bytes = bytes_in_memory(self.outbufs)

    def _flush_some(self, *, do_close: bool = True) -> bool:
        """Send what the client takes, and let go of an answer when the last of it is sent."""
        sent = bool(super()._flush_some(do_close=do_close))
        if sent and not self.requests:  # an answer that is being made goes on in the same buffer
            self._let_go()
        return sent

    def _let_go(self) -> None:
        """Keep nothing of what is sent: waitress would until the next answer, so for as long as the connection is open."""
        if self.total_outbufs_len or not (self.kept_bytes or self.outbufs[-1].buf):
            return
        with self.outbuf_lock:
            last = self.outbufs[-1]
            if len(last) or not self.connected:  # written to, or closed, since it was looked at
                return
            self.kept_bytes = 0
            if last.overflowed or bytes_in_memory([last]) > SMALL_BYTES:
                last.close()
                self.outbufs[-1] = OverflowableBuffer(self.adj.outbuf_overflow)
                self.current_outbuf_count = 0
