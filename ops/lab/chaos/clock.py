"""The wall clock of an appliance's programs, which a trial may set."""

from __future__ import annotations

import struct
from pathlib import Path

from ops.lab.preload import compiled


class TrialClock:
    """Shifts the clock of the programs that run in `environment`, and no other's."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "clock"
        self.shift(0)
        self.environment = {"LD_PRELOAD": str(library), "SHAPBOX_SHAPBOX_TRIAL_CLOCK": str(self._file)}

    @classmethod
    def make(cls, folder: Path) -> TrialClock | None:
        """Return a clock; None without a C compiler."""
        library = compiled(Path(__file__).with_name("clock.c"), folder)
        return None if library is None else cls(folder, library)

    def shift(self, seconds: int) -> None:
        """Let the programs' clock jump to so many seconds beside the right time."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:  # programs have it mapped
            file.write(struct.pack("q", seconds * 10**9))
