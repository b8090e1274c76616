"""The names of all keys in Redis, except RQ's own."""

from __future__ import annotations

#: All jobs' ids, score 0: they sort by id, that is by time.
JOBS = "shapbox:jobs"
#: Ended jobs' ids by the time of their end, for the sweeper.
FINISHED = "shapbox:finished"
#: JOB:BATCH of every batch that a worker holds → the holder as JSON.
RUNNING = "shapbox:running"
#: Counters and histograms that outlive processes.
COUNTERS = "shapbox:counters"
#: The names of all workers that have sent a heartbeat, alive or not.
WORKERS = "shapbox:workers"
#: Written by the monitor every second, to see whether Redis accepts writes.
PULSE = "shapbox:pulse"
#: Written by the api, at most once a second, when it is asked whether it is ready.
READY = "shapbox:ready"
#: A key that never exists: deleting it shows whether Redis accepts writes that need no memory.
NOTHING = "shapbox:nothing"
#: The worker that may restart to free shap's memory, for some seconds.
SHAP_TURN = "shapbox:shap-turn"
#: The time of an admin's recycle request. It expires unless a monitor takes it.
RECYCLE = "shapbox:recycle"
#: The channel on which ended jobs' ids are published.
ENDED_CHANNEL = "shapbox:ended"

#: A job's fields, by its id.
job = "shapbox:job:{}".format
#: The set of a job's batches whose results are not recorded, by the job's id.
todo = "shapbox:todo:{}".format
#: The blame, by batch, for workers that died holding it, by the job's id.
deaths = "shapbox:deaths:{}".format
#: The ids of all jobs in a status, score 0.
with_status = "shapbox:jobs:{}".format
#: The number of a process's last flush of its counters, by the process. It expires.
flush = "shapbox:flush:{}".format
#: A worker's heartbeat, by its name. It expires unless renewed.
heartbeat = "shapbox:beacon:{}".format  # prose: allow "beacon": stored data
#: The id of an Idempotency-Key's job, by the key's digest.
idempotency = "shapbox:idempotency:{}".format
