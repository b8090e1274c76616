"""The samples of a soak, line by line in a CSV file that survives an aborted run."""

from __future__ import annotations

import csv
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

#: The first line of the file.
COLUMNS = ("seconds", "kind", "name", "pid", "value")


class Kind(StrEnum):
    """The kinds of samples."""

    #: A fact about the run: value.
    FACT = "fact"
    #: The working set in bytes; the name says where it is read.
    WORKING_SET = "working_set"
    #: A process's PSS in bytes.
    PSS = "pss"
    #: A count since the start.
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. `seconds` count from the start of the load; `pid` is 0 where there is none."""

    seconds: float
    kind: Kind
    name: str
    pid: int
    value: float


class SampleFile:
    """Writes samples as they come, and keeps them. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._lock = threading.Lock()
        self._samples: list[Sample] = []

    def add(self, *samples: Sample) -> None:
        """Write samples down."""
        with self._lock:
            self._samples.extend(samples)
            for one in samples:
                self._writer.writerow(
                    (f"{one.seconds:.1f}", one.kind, one.name, one.pid, f"{one.value:.10g}")
                )
            self._file.flush()

    def all(self) -> list[Sample]:
        """Return all samples so far."""
        with self._lock:
            return list(self._samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_samples(path: Path) -> list[Sample]:
    """Read a SampleFile. Raises ValueError if it is something else, OSError if unreadable."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            raise ValueError(f"{path} holds no samples of a soak")
        return [
            Sample(float(seconds), Kind(kind), name, int(pid), float(value))
            for seconds, kind, name, pid, value in lines
        ]
