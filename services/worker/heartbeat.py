"""Renews this worker's beacon and moves its counters to Redis, also while XGBoost explains a batch: it lets go of the GIL.

shap's native code does not. While that runs nothing beats, and the monitor sees from the process that it lives.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import redis

from shared.appliance.counters import Counters
from shared.appliance.heartbeats import BEAT_SECONDS, Beacon, Beacons

logger = logging.getLogger(__name__)


class Heartbeat:
    """A background thread that beats until it is stopped or the process ends."""

    def __init__(self, beacons: Beacons, beacon: Beacon, counters: Counters) -> None:
        self._beacons = beacons
        self._beacon = beacon
        self._counters = counters
        self._state = "idle"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, so that the first claim finds the beacon lit, and go on in the background.

        Raises what REDIS_AWAY lists, and ResponseError while Redis refuses writes.
        """
        self._beacons.beat(self._beacon)
        self._thread.start()

    def say(self, state: str) -> None:
        """Say idle or busy from the next beat on."""
        self._state = state

    def stop(self) -> None:
        """Stop beating and put the beacon out. With Redis away, the lease ends it."""
        self._stopped.set()
        self._thread.join(timeout=BEAT_SECONDS)
        try:
            self._beacons.put_out(self._beacon.name, self._beacon.token)
        except redis.RedisError as fault:
            logger.warning("beacon not put out", extra={"cause": str(fault)})

    def _beat_on(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            try:
                self._beacons.beat(replace(self._beacon, state=self._state))
                self._counters.flush()
            except (redis.RedisError, MemoryError) as fault:
                # Redis is away, or a batch has taken all memory: the work loop says so, the next beat tries again.
                logger.debug("no beat", extra={"cause": str(fault)})
            except Exception:
                # Without a beacon each batch of this worker would be given to another one as well.
                logger.exception("no beat")
