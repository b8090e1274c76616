"""The disk, the clock and the Redis of an appliance in a chaos run, so that they can fail."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ops.lab.chaos.clock import TrialClock
from ops.lab.chaos.disk import TrialDisk
from ops.lab.chaos.plan import Surrounding, has_pair
from ops.lab.chaos.redis_pair import RedisPair
from ops.lab.trial_appliance import Appliance

#: Few rows of a batch, so that the larger jobs have dozens of batches to be struck in.
SETTINGS = {"BATCH_ROWS": "500"}
#: The disk: sparse, so that it takes only what is written. Its inodes are few, so that they are soon taken.
DISK_MB, DISK_INODES = 16 * 1024, 100_000


@dataclass(slots=True)
class Surroundings:
    """Those that this machine allows; `missing` says why the other faults are not made."""

    disk: TrialDisk | None = None
    clock: TrialClock | None = None
    pair: RedisPair | None = None
    missing: dict[Surrounding, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, seed: int) -> Surroundings:
        """Make what this machine allows, in a folder."""
        made = cls()
        try:
            made.disk = TrialDisk(folder, DISK_MB, DISK_INODES)
        except OSError as fault:
            for kind in (Surrounding.DISK, Surrounding.INODES, Surrounding.POWER):
                made.missing[kind] = f"no disk can be mounted here ({fault})"
        made.clock = TrialClock.make(folder)
        if made.clock is None:
            made.missing[Surrounding.CLOCK] = "there is no C compiler here"
        if has_pair(seed):
            made.pair = RedisPair(folder)
        return made

    def appliance(self, folder: Path) -> Appliance:
        """Return an appliance in them, which is not started yet."""
        # Clients know the key while the disk that would hold a generated one is away.
        settings = {
            **SETTINGS,
            "API_KEY": secrets.token_urlsafe(32),
            **(self.clock.environment if self.clock else {}),
        }
        settings |= {"REDIS_URL": self.pair.url} if self.pair else {"DURABILITY": "power"}
        appliance = Appliance((self.disk.mount if self.disk else folder) / "data", settings)
        appliance.log_path = folder / "data.log"
        return appliance

    def end(self) -> None:
        """Stop the servers and unmount the disk; its file stays."""
        with contextlib.ExitStack() as ending:
            if self.disk is not None:
                ending.callback(self.disk.unmount)
            if self.pair is not None:
                ending.callback(self.pair.stop)
