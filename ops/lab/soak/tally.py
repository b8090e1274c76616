"""The clients' counts and faults."""

from __future__ import annotations

import threading
from collections import Counter

#: Faults that are kept as texts, at most: the first ones tell the most.
MOST_FAULTS = 20


class Tally:
    """Counts, and the first faults in words. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._faults: list[str] = []

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        with self._lock:
            self._counts[name] += number

    def fault(self, name: str, said: str) -> None:
        """Count a fault and keep what is said of it."""
        with self._lock:
            self._counts[name] += 1
            if len(self._faults) < MOST_FAULTS:
                self._faults.append(f"{name}: {said}")

    def counts(self) -> Counter[str]:
        """Return all counts."""
        with self._lock:
            return Counter(self._counts)

    def faults(self) -> list[str]:
        """Return the first faults."""
        with self._lock:
            return list(self._faults)
