"""How long batches have been worked on: a worker that waits for a processor, which others have, does not hang.

On a small machine, or where the container's processor time is cut, a batch that takes seconds may take minutes. Its worker is not to
be killed for that: the batch would fail as one that ends workers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.jobs.recovery import Running
from shared.memory import PROC


def waited_for_processor(pid: int, proc: Path = PROC) -> float:
    """Return the seconds that a process's first thread, which runs a worker's batches, was ready to run and did not.

    0 where the kernel does not tell.
    """
    try:
        return int((proc / str(pid) / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class BatchClock:
    """Remembers how long each batch's worker had waited for a processor before. One thread uses it."""

    def __init__(self, waited: Callable[[int], float] = waited_for_processor) -> None:
        self._waited = waited
        self._before: dict[tuple[str, float], float] = {}
        self._seen: set[tuple[str, float]] = set()

    def waits(self, held: Running, pid: int) -> float:
        """Return the seconds that a batch's worker has waited for a processor since the batch was first seen in its hands."""
        claim = (held.token, held.since)
        self._seen.add(claim)
        waited = self._waited(pid)
        return max(0.0, waited - self._before.setdefault(claim, waited))

    def forget_others(self) -> None:
        """Forget all claims that were not asked for since the last call."""
        self._before = {claim: before for claim, before in self._before.items() if claim in self._seen}
        self._seen = set()
