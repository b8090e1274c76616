"""Renews this worker's heartbeat in Redis and flushes its counters, also during a batch.

XGBoost and our kernels release the GIL. shap does not: while it runs there are no heartbeats, and the monitor sees from
the process that the worker is alive.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import redis

from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.timing import TIMING

logger = logging.getLogger(__name__)


class HeartbeatThread:
    """A background thread that sends heartbeats until it is stopped or the process ends."""

    def __init__(self, heartbeats: Heartbeats, heartbeat: Heartbeat, counters: Counters) -> None:
        self._heartbeats = heartbeats
        self._heartbeat = heartbeat
        self._counters = counters
        #: The state that the next heartbeats send, idle or busy.
        self.state = "idle"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Send the first heartbeat, before the first claim, and go on in the background.

        Raises the exceptions in REDIS_AWAY, and ResponseError while Redis refuses writes.
        """
        self._heartbeats.beat(self._heartbeat)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and remove the heartbeat from Redis. If Redis is away, its lease expires."""
        self._stopped.set()
        self._thread.join(timeout=TIMING.heartbeat_interval_seconds)
        try:
            self._heartbeats.withdraw(self._heartbeat.name, self._heartbeat.token)
        except redis.RedisError as fault:
            logger.warning("heartbeat not removed", extra={"cause": str(fault)})

    def _beat_on(self) -> None:
        while not self._stopped.wait(TIMING.heartbeat_interval_seconds):
            try:
                self._heartbeats.beat(replace(self._heartbeat, state=self.state))
                self._counters.flush()
            except (redis.RedisError, MemoryError) as fault:
                # Redis is away or a batch uses all memory, which the work loop reports.
                logger.debug("heartbeat not sent", extra={"cause": str(fault)})
            except Exception:
                # Without a heartbeat each batch of this worker would be given to another one as well.
                logger.exception("heartbeat not sent")
