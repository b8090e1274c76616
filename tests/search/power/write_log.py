"""The log of recorder.c: what the programs did to the files below a folder, in order."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

#: recorder.c's struct head.
_HEAD = struct.Struct("<IIQQIIQ")


class Kind(IntEnum):
    """The kinds of records."""

    CREATE = ord("C")
    MKDIR = ord("D")
    LINK = ord("L")
    UNLINK = ord("U")
    RENAME = ord("R")
    WRITE = ord("W")
    TRUNCATE = ord("T")
    SYNC = ord("S")
    SYNCED = ord("E")
    #: Something that the recording test learned at this moment, in `name`.
    MARK = ord("M")


@dataclass(frozen=True, slots=True)
class Record:
    """`first` and `second` are inodes (of folder and file), or an inode and a place in it."""

    kind: Kind
    thread: int
    first: int
    second: int
    name: str
    other: str
    data: memoryview


class WriteLog:
    """The log of programs that run with `environment`, on the files of an existing folder."""

    def __init__(self, path: Path, root: Path, library: Path) -> None:
        path.touch()
        self._path = path
        self.root = root.resolve().stat().st_ino
        names = {"LD_PRELOAD": library, "SHAPBOX_TRIAL_ROOT": root.resolve(), "SHAPBOX_TRIAL_LOG": path}
        self.environment = {name: str(value) for name, value in names.items()}

    def mark(self, text: str) -> None:
        """Note that all that was recorded so far came before `text`."""
        name = text.encode()
        with self._path.open("ab", buffering=0) as file:
            file.write(_HEAD.pack(Kind.MARK, 0, 0, 0, len(name), 0, 0) + name)

    def read(self) -> list[Record]:
        """Return all records."""
        return list(_records(memoryview(self._path.read_bytes())))


def _records(data: memoryview) -> Iterator[Record]:
    place = 0
    while place < len(data):
        kind, thread, first, second, *lengths = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        name, other, content = (
            data[place + sum(lengths[:number]) : place + sum(lengths[: number + 1])] for number in range(3)
        )
        place += sum(lengths)
        yield Record(Kind(kind), thread, first, second, str(name, "utf-8"), str(other, "utf-8"), content)
