"""Places faults for a trial appliance's workers (startup/placed_faults.py makes them)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

#: The places, in the order in which a batch comes by.
type Point = Literal["unclaimed", "read", "compute", "stored", "recorded"]
#: The faults.
type Action = Literal["kill", "steps", "once", "leak", "hang", "hanggil", "slow", "long", "break"]

#: The folder that goes on the workers' PYTHONPATH.
STARTUP = Path(__file__).parent / "startup"


def startup_path() -> str:
    """Return a PYTHONPATH with what changes programs as they start."""
    return os.pathsep.join(filter(None, (str(STARTUP), os.environ.get("PYTHONPATH"))))


def timed(**seconds: float) -> dict[str, str]:
    """Return the environment of an appliance whose services have these times of shared.timing."""
    times = ",".join(f"{name}={value}" for name, value in seconds.items())
    return {"PYTHONPATH": startup_path(), "SHAPBOX_TEST_TIMING": times}


@dataclass(frozen=True, slots=True)
class Step:
    """A batch that came by a point, in a worker's process, at a time (seconds since the epoch)."""

    at: float
    pid: int
    point: str
    job_id: str
    batch: int


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that was made."""

    at: float
    pid: int
    job_id: str
    batch: int
    point: str
    action: str


class Faults:
    """The faults of one appliance, over all its starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("placed", "taken"):
            (folder / name).mkdir(parents=True)

    def environment(self) -> Mapping[str, str]:
        """Return what the appliance's environment needs, beside all else."""
        return {"PYTHONPATH": startup_path(), "SHAPBOX_TEST_FAULTS": str(self._folder)}

    def place(self, job_id: str, batch: int, point: Point, action: Action, times: int = 1) -> None:
        """Have something happen when this batch comes to this point, the next so many times."""
        assert point in get_args(Point.__value__)
        assert action in get_args(Action.__value__)
        for _ in range(times):
            number = sum(1 for _ in (self._folder / "placed").iterdir()) + len(self.strikes())
            (self._folder / "placed" / f"{job_id}.{batch}.{point}.{action}.{number}").touch()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold every batch before its input is read, so that faults are there before the work."""
        (self._folder / "hold").touch()
        try:
            yield
        finally:
            (self._folder / "hold").unlink()

    def left(self) -> list[str]:
        """Return the names of the faults that nobody has met."""
        return sorted(path.name for path in (self._folder / "placed").iterdir())

    def strikes(self) -> list[Strike]:
        """Return the faults that were made, in order."""
        made = []
        for line in self._lines("struck"):
            at, pid, name = line.split()
            job_id, batch, point, action, _ = name.split(".")
            made.append(Strike(float(at), int(pid), job_id, int(batch), point, action))
        return made

    def steps(self, point: Point) -> list[Step]:
        """Return who came by a point, in order."""
        words = (line.split() for line in self._lines("trace"))
        return [
            Step(float(at), int(pid), place, job_id, int(batch))
            for at, pid, place, job_id, batch in words
            if place == point
        ]

    def recovery_seconds(self) -> list[float]:
        """Return for each strike the time until its batch was read again, if it was."""
        reads = self.steps("read")
        waits = []
        for strike in self.strikes():
            key = (strike.job_id, strike.batch)
            again = [
                step.at
                for step in reads
                if (step.job_id, step.batch) == key and step.at > strike.at and step.pid != strike.pid
            ]
            if again:
                waits.append(again[0] - strike.at)
        return waits

    def _lines(self, file: str) -> list[str]:
        path = self._folder / file
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []
