"""The calls of a process that fail, in memory that driver and processes share.

failing_calls.c reads the same block.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("failing_calls.c")
#: Names the library for the driver, which runs with it preloaded.
LIBRARY_NAME = "SHAPBOX_TEST_FAILING_CALLS"


class Kind(IntEnum):
    """The kinds of calls that are counted, as in failing_calls.c."""

    NOTHING, REDIS, FILES, MEMORY = range(4)


class Block(ctypes.Structure):
    """The layout of `struct block`."""

    _fields_ = (
        ("kind", ctypes.c_long),
        ("first", ctypes.c_long),
        ("last", ctypes.c_long),
        ("error", ctypes.c_long),
        ("least", ctypes.c_long),
        ("count", ctypes.c_long),
        ("struck", ctypes.c_long),
        ("folder", ctypes.c_char * 256),
    )

    kind: int
    first: int
    last: int
    #: An errno, or -1: write half of it.
    error: int
    least: int
    count: int
    struck: int
    folder: bytes

    @classmethod
    def shared(cls, folder: Path) -> Block:
        """Return one that forked processes share, for the files in a folder."""
        block = cls.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        block.folder = bytes(folder)
        _use(ctypes.addressof(block))
        return block

    @staticmethod
    def let_go() -> None:
        """Have the library count nothing any more: the block's memory is about to be freed."""
        _use(None)

    def aim(self, first: int, calls: int, error: int = 0, least: int = 0) -> None:
        """Have so many calls from the `first` one fail, counted from now on."""
        self.count = self.struck = 0
        self.first, self.last, self.error, self.least = first, first + calls, error, least

    @contextmanager
    def counting(self, kind: Kind) -> Iterator[None]:
        """Count the calls of a kind during the block, in all threads."""
        self.kind = kind
        try:
            yield
        finally:
            self.kind = Kind.NOTHING


def _use(address: int | None) -> None:
    use = ctypes.CDLL(os.environ[LIBRARY_NAME]).failing_calls_use
    use.argtypes = [ctypes.c_void_p]
    use(address)


def build(folder: Path) -> Path:
    """Compile failing_calls.c into a folder."""
    library = folder / "failing_calls.so"
    command = ["gcc", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-o", str(library)]
    subprocess.run([*command, str(SOURCE), "-ldl"], check=True)
    return library


def run_again_preloaded(library: Path, arguments: list[str]) -> int:
    """Run this program with the library; every allocation of Python becomes a malloc."""
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        LIBRARY_NAME: str(library),
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "tests.search.faults", *arguments], env=environment, check=False
    ).returncode
