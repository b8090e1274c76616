"""One sync for all that wait: none returns before a sync that began after its call."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.redis.aof_sync import GroupSync


class SlowSync:
    """Syncs when it is let go, and notes what had been written when each sync began."""

    def __init__(self) -> None:
        self.written = 0
        self.seen: list[int] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.fault: OSError | None = None

    def step(self) -> None:
        self.seen.append(self.written)
        self.begun.release()
        assert self.go_on.acquire(timeout=30)
        if self.fault:
            raise self.fault


def test_those_that_come_during_a_sync_share_the_next_one() -> None:
    slow = SlowSync()
    group = GroupSync(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(group.wait)
        assert slow.begun.acquire(timeout=30)
        slow.written = 1
        others = [pool.submit(group.wait) for _ in range(8)]
        assert not any(other.done() for other in others)
        slow.go_on.release()
        first.result(30)
        assert slow.begun.acquire(timeout=30)
        assert not any(other.done() for other in others)
        slow.go_on.release(8)
        for other in others:
            other.result(30)
    assert slow.seen[:2] == [0, 1]
    # Threads that were not yet waiting when the second sync began need a third one.
    assert len(slow.seen) <= 3


def test_a_fault_reaches_its_caller_and_others_try_again() -> None:
    slow = SlowSync()
    slow.fault = OSError(5, "Input/output error")
    slow.go_on.release(1)
    group = GroupSync(slow)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Input/output"):
        group.wait()
    slow.fault = None
    slow.go_on.release(1)
    group.wait()
    assert len(slow.seen) == 2
