"""Lets requests wait until a job ends, without polling.

Redis announces each end on a channel. One thread listens and wakes the requests that wait for that job. A waiter is
registered before it reads the job's state, so no end is missed in between; and it reads it again now and then, so that a
lost announcement costs half a second, not the whole wait.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, NamedTuple

import redis

from services.api.http.access_log import requested_wait
from shared import metrics
from shared.appliance.counters import Counters
from shared.errors import JobNotFoundError, RedisUnavailableError
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.redis.connection import RedisClient, redis_needed

#: Seconds after which a client may ask again whose wait was cut short.
RETRY_SECONDS = 2
#: Seconds after which a waiter reads the job's state anyway.
LOOK_SECONDS = 0.5
#: Seconds of one listening call, which is how soon the thread ends when it is told to.
LISTEN_SECONDS = 1.0
#: Seconds between two tries to reach a Redis that is away.
PAUSE_SECONDS = 0.5

_log = logging.getLogger("shapbox.job_waits")


class Waited(NamedTuple):
    """A job after a wait, and whether neither the job nor the time had ended."""

    job: Job
    cut_short: bool = False

    def acknowledge(self, resp: Any) -> None:
        """Tell a client whose wait was cut short when to ask again."""
        if self.cut_short:
            resp.set_header("Retry-After", str(RETRY_SECONDS))


class JobWaits:
    """Waits for jobs. `connection` is used by the listening thread alone."""

    def __init__(
        self,
        connection: RedisClient,
        store: JobStore,
        counters: Counters,
        stopping: threading.Event,
        most_waiting: int,
    ) -> None:
        """Stop waiting once `stopping` is set; call `wake_all` then."""
        self._redis = connection
        self._store = store
        self._counters = counters
        self._stopping = stopping
        self._places = threading.BoundedSemaphore(most_waiting)
        #: The job that each waiter waits for. Every access is a single operation of dict, and so atomic.
        self._waiting: dict[threading.Event, str] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen, in a thread of its own."""
        self._thread = threading.Thread(target=self._listen, name="job waits", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the listening thread's end, some seconds at most."""
        if self._thread:
            self._thread.join(2 * LISTEN_SECONDS)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def wait(self, job: Job, seconds: float) -> Waited:
        """Return the job as it is when it has ended, or after so many seconds.

        The wait is cut short if too many wait already, or the api stops. Raises RedisUnavailableError, and
        JobNotFoundError if the job is deleted meanwhile.
        """
        if job.status.ended or seconds <= 0:
            return Waited(job)
        if not self._places.acquire(blocking=False):
            self._counters.add(metrics.HTTP_WAITS_REFUSED)
            return Waited(job, cut_short=True)
        woken = threading.Event()
        try:
            self._waiting[woken] = job.id
            return self._watch(job.id, woken, time.monotonic() + seconds)
        finally:
            del self._waiting[woken]
            self._places.release()

    def wait_for_accepted(self, job: Job, seconds: float) -> Waited:
        """Wait for a job that was accepted just now: in any case the client must learn its id."""
        try:
            return self.wait(job, seconds)
        except (RedisUnavailableError, JobNotFoundError):
            return Waited(job, cut_short=True)

    def wake_all(self) -> None:
        """Let all waiters read their job's state at once."""
        for event in list(self._waiting):
            event.set()

    def _watch(self, job_id: str, woken: threading.Event, deadline: float) -> Waited:
        while True:
            woken.clear()
            with redis_needed():
                job = self._store.get(job_id)
            left = deadline - time.monotonic()
            if job.status.ended or left <= 0:
                return Waited(job)
            if self._stopping.is_set():
                return Waited(job, cut_short=True)
            with requested_wait():
                woken.wait(min(left, LOOK_SECONDS))

    def _listen(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                self._follow_channel()
                away = False
            except Exception as fault:  # noqa: BLE001  # waiters need this thread, even after an unexpected fault
                if not away:
                    unexpected = not isinstance(fault, redis.RedisError)
                    _log.warning(
                        "the channel of ended jobs is lost, so waiters poll: %s", fault, exc_info=unexpected
                    )
                away = True
                self._stopping.wait(PAUSE_SECONDS)

    def _follow_channel(self) -> None:
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(keys.ENDED_CHANNEL)
            self.wake_all()  # what ended before now was not heard
            while not self._stopping.is_set():
                message = channel.get_message(timeout=LISTEN_SECONDS)
                ended = None if message is None else message["data"].decode()
                for event, job_id in list(self._waiting.items()):
                    if job_id == ended:
                        event.set()
