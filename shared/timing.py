"""Every lease, deadline and grace period, in one object that tests can replace.

Intervals of loops that nothing else depends on stay in their modules.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds. tests/unit/shared/test_timing.py checks how they relate to each other."""

    # --- Heartbeats and batches ---
    #: Between two heartbeats of a worker.
    heartbeat_interval_seconds: float = 2.0
    #: From a worker's last heartbeat until it counts as gone.
    heartbeat_lease_seconds: float = 10.0
    #: In which a live worker claims a batch that it took from a queue: some ten times what that takes.
    claim_seconds: float = 0.1
    #: Between two searches for batches that were lost between a queue and a worker.
    lost_search_seconds: float = 2.0
    #: Without contact to Redis, after which workers' silence is measured anew.
    redis_gap_seconds: float = 5.0
    #: Of silence, at least, before a running worker is killed: it must start first.
    silent_worker_seconds: float = 30.0
    #: For another appliance's monitor to give back the batches of its restarted workers itself.
    remote_restart_seconds: float = 10.0
    #: The same where the worker's heartbeat is gone. That monitor withdraws the heartbeat and gives the batch back in one
    #: go; a reader running in between would report a killed worker as silent.
    remote_silent_seconds: float = 0.9

    # --- Replacing workers ---
    #: For which an admin's recycle request waits to be taken.
    recycle_request_seconds: float = 60.0
    #: After which the next worker may be recycled although the last one's successor has not started.
    recycle_successor_seconds: float = 60.0
    #: After a worker's start, in which it is not recycled: its successor would grow as fast.
    young_worker_seconds: float = 60.0
    #: For which the api must be too large, with memory at its limit and no worker to blame, before it is restarted: an
    #: upload may take as long, and shrinks the api when it ends.
    api_grown_seconds: float = 60.0
    #: After such a restart, until the next one.
    api_restart_pause_seconds: float = 600.0
    #: After a kill, until the memory that it freed shows.
    kill_pause_seconds: float = 2.0
    #: The same after killing a worker hardly larger than its successor, which freed little.
    futile_kill_pause_seconds: float = 30.0

    # --- Starting and stopping, as in supervisord.conf ---
    #: After which supervisord counts a program as started (`startsecs`, a whole number).
    program_start_seconds: float = 1.0
    #: For the monitor's loops to end.
    monitor_loops_stop_seconds: float = 0.6
    #: From a stop signal until a worker abandons its batch.
    worker_drain_seconds: float = 12.0
    #: That RQ waits for a batch (BLPOP), plus 15: how late a stop signal may be noticed.
    rq_worker_ttl_seconds: float = 30.0
    #: Between two renewals of RQ's registration, which expires a minute after rq_worker_ttl_seconds.
    rq_registration_seconds: float = 10.0

    # --- A worker's pauses ---
    #: After the object store failed, until the worker takes the next batch.
    storage_pause_seconds: float = 5.0
    #: Between two attempts to reach Redis while a worker starts.
    redis_retry_seconds: float = 0.5
    #: Without a batch for shap, after which its memory is given back.
    shap_idle_seconds: float = 60.0
    #: In which no other worker restarts for that reason: longer than a start on half a CPU.
    shap_turn_seconds: float = 10.0

    # --- Health ---
    #: Of a fault, after which only a restart helps.
    hopeless_seconds: float = 30.0
    #: After the api's start, in which a monitor that has not reported is no fault.
    first_report_seconds: float = 30.0
    #: After which the monitor's report is outdated for /readyz.
    report_max_age_seconds: float = 10.0
    #: In times BATCH_TIMEOUT_SECONDS: with work and no batch that ends, after which work counts as stalled. A batch that hangs
    #: fails its job after three of them.
    stalled_batches: float = 4.0
    #: Between two probes of the object store.
    storage_probe_seconds: float = 5.0
    #: After which the last probe no longer counts: the store hangs.
    storage_probe_max_age_seconds: float = 30.0

    # --- A remote object store ---
    #: In which it must answer the api, before a request is refused: 3 s with a second try after an error.
    storage_answer_seconds: float = 2.4
    #: For one try of a worker or the monitor, and for all tries of a request: a worker must notice an unreachable store
    #: long before BATCH_TIMEOUT_SECONDS makes it count as hung.
    storage_try_seconds: float = 5.0
    storage_patience_seconds: float = 12.0

    # --- Connections to the api ---
    #: For the whole head of a request.
    http_head_seconds: float = 10.0
    #: For a body, in addition to what it takes at the slowest rate that is accepted.
    http_body_seconds: float = 10.0
    #: After the last answer of a connection, in which what the client still sends is dropped, so that it hears the answer.
    http_linger_seconds: float = 30.0

    # --- Sweeping ---
    #: After the sweeper first saw objects without a job, until they are leftovers and no upload in progress.
    orphan_seconds: float = 3600.0
    #: The same while the disk is nearly full: longer than the largest upload takes.
    orphan_on_full_disk_seconds: float = 600.0
    #: After the start of the only api, until uploads of the process before count as leftovers.
    api_settled_seconds: float = 60.0
    #: After a job was cancelled, in which a worker may still write a result.
    cancelled_seconds: float = 120.0

    @property
    def settling_seconds(self) -> float:
        """From the first contact to Redis until every live worker has sent a heartbeat."""
        return self.heartbeat_lease_seconds + self.heartbeat_interval_seconds


#: The times of production.
TIMING = Timing()
