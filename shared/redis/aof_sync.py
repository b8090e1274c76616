"""Syncs the embedded Redis's append-only file to the disk.

Redis's own `appendfsync everysec` delays a write while an fsync runs, for up to two seconds after it was answered: a kill
-9 in that moment loses an accepted job. `always` ends Redis when the disk is full. With `appendfsync no` each write reaches
the kernel before its answer, and the kernel keeps it when Redis dies. These classes do the rest, against a power cut.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from shared.synced_files import sync

#: The folder of the append-only file's parts, in Redis's working folder.
FOLDER = "appendonlydir"


class AofSync:
    """Syncs the parts that have grown since the last time. One thread at a time calls `step`."""

    def __init__(self, redis_dir: Path) -> None:
        self._folder = redis_dir / FOLDER
        #: The sizes up to which parts are synced. A rewrite may have left a part behind that is not.
        self._synced: dict[str, int] = {}

    def step(self) -> None:
        """Sync what has grown. Raises OSError if the disk fails."""
        if not self._synced and self._folder.exists():
            sync(self._folder.parent)  # Redis syncs the names in its folder, not the folder's own
        sizes = {}
        for part in self._folder.glob("*.incr.aof"):
            try:
                descriptor = os.open(part, os.O_RDONLY)
            except FileNotFoundError:  # a rewrite has just removed it
                continue
            try:
                sizes[part.name] = os.fstat(descriptor).st_size
                if sizes[part.name] != self._synced.get(part.name):
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        self._synced = sizes


class GroupSync:
    """One sync for all threads that wait for one at the same time."""

    def __init__(self, sync: AofSync) -> None:
        self._sync = sync
        self._changed = threading.Condition()
        #: The numbers of the last sync that was begun, and of the last one that succeeded.
        self._begun = self._ended = 0
        self._running = False

    def wait(self) -> None:
        """Return when everything that was written before the call is on the disk.

        Raises OSError if the disk fails; the others that wait try it again.
        """
        with self._changed:
            needed = self._begun + 1  # one that is running may have begun before the write
            while self._ended < needed:
                if self._running:
                    self._changed.wait()
                else:
                    self._run()

    def _run(self) -> None:
        """Sync, and let others come to wait meanwhile."""
        self._begun += 1
        number, self._running = self._begun, True
        self._changed.release()
        try:
            self._sync.step()
        finally:
            self._changed.acquire()
            self._running = False
            self._changed.notify_all()
        self._ended = number
