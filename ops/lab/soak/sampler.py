"""Samples an appliance's memory in the background, and its and the clients' counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from ops.http_call import call
from ops.lab.soak.memory_account import MemoryAccount, programs_of
from ops.lab.soak.samples import Kind, Sample, SampleFile
from ops.lab.trial_appliance import NO_ANSWER, Appliance

#: Seconds between two looks at the working set, at the programs' PSS, and at the counts.
WORKING_SET_SECONDS, PSS_SECONDS, COUNT_SECONDS = 1.0, 5.0, 10.0
#: Seconds to wait for the appliance's own counts: samples of memory must not wait longer.
METRICS_SECONDS = 2.0
#: Kept metrics of the appliance: how they begin, and their names here.
METRICS = {
    'shapbox_worker_recycles_total{reason="': "recycles_",
    'shapbox_batches_recovered_total{cause="': "recovered_",
    'shapbox_queue_batches{queue="': "waiting_",
}


class Sampler:
    """A background thread. `report` is called after each look at the counts."""

    def __init__(
        self,
        account: MemoryAccount,
        file: SampleFile,
        counts: Callable[[], Mapping[str, int]],
        report: Callable[[float], None],
    ) -> None:
        self._account = account
        self._file = file
        self._counts = counts
        self._report = report
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin; the clock of the samples starts now."""
        self._started = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End, with the last counts written down."""
        self._stopped.set()
        self._thread.join()
        self._take_counts(time.monotonic() - self._started)

    def _sample_on(self) -> None:
        turn = 0
        while not self._stopped.wait(max(0.0, self._started + turn - time.monotonic())):
            seconds = time.monotonic() - self._started
            working_set = self._account.working_set()
            self._file.add(Sample(seconds, Kind.WORKING_SET, self._account.source, 0, working_set))
            if turn % PSS_SECONDS == 0:
                programs = programs_of(self._account.appliance)
                self._file.add(*(Sample(seconds, Kind.PSS, one.name, one.pid, one.pss) for one in programs))
            if turn % COUNT_SECONDS == 0:
                self._take_counts(seconds)
                self._report(seconds)
            turn += int(WORKING_SET_SECONDS)

    def _take_counts(self, seconds: float) -> None:
        counts = {**self._counts(), **self._account.marks(), **metrics_of(self._account.appliance)}
        self._file.add(*(Sample(seconds, Kind.COUNT, name, 0, counts[name]) for name in sorted(counts)))


def metrics_of(appliance: Appliance) -> dict[str, int]:
    """Return the appliance's counts of recycles, recoveries and queues, if it answers."""
    key = {"Authorization": f"Bearer {appliance.metrics_token}"}
    try:
        answer = call(f"{appliance.url}/metrics", "GET", key, seconds=METRICS_SECONDS)
    except NO_ANSWER:
        return {}
    if answer.status != 200:
        return {}
    found = {}
    for line in answer.body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        for begin, called in METRICS.items():
            if name.startswith(begin):
                found[called + name[len(begin) :].partition('"')[0]] = round(float(value))
    return found
