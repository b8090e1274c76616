"""`python -m services.worker --name worker-1`: the entry point of one worker process."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from threading import Event

import redis
from rq.serializers import JSONSerializer

from services.worker import task
from services.worker.batch import BatchRunner
from services.worker.exits.memory_cap import cap_bytes, limit_growth
from services.worker.exits.shap_return import ShapReturn
from services.worker.heartbeat import Heartbeat
from services.worker.models import WarmModels
from services.worker.worker import RQ_WORKER_TTL, BatchWorker
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Beacon, Beacons
from shared.appliance.host_name import host_name
from shared.appliance.parent_death import rest_of_start
from shared.cgroup import usable_processors
from shared.errors import SettingsError, ShapboxError
from shared.jobs.queue import Lane, rq_queue
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.log import configure_logging
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import REDIS_AWAY, Patience, connect, writes_refused
from shared.settings import Settings

logger = logging.getLogger(__name__)

#: Added to a worker's badness, so that the kernel, if it must kill, takes a worker: it loses the least.
OOM_SCORE_ADJ = 500
#: How much a worker's processor time yields to the other programs': whoever waits for an answer waits for the api.
NICENESS = 15
#: The same where there is one processor: a little only, or few busy clients of the api would keep batches from ending. With more
#: they cannot: Python runs one of the api's threads at a time.
NICENESS_ALONE = 2
#: Seconds between two looks whether Redis is there, at the start.
REDIS_WAIT = 0.5
#: Threads of every native library here: the number of workers is what uses the cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run one worker until it is told to leave, grows too large, or loses Redis."""
    parser = argparse.ArgumentParser(description="A Shapbox worker: explains one batch at a time.")
    parser.add_argument("--name", required=True, help="its name on this host, such as worker-1")
    name = parser.parse_args().name
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as fault:
        logger.critical("the worker cannot start: %s", fault)
        return 2
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"), TQDM_DISABLE="1")
    configure_logging(settings, "worker", process=name)
    warnings.filterwarnings("ignore", module="shap")  # its advice is for notebooks
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until RQ installs its own
    _offer_to_the_oom_killer()
    os.nice(NICENESS if usable_processors() > 1 else NICENESS_ALONE)
    try:
        return _work(settings, name)
    except KeyboardInterrupt:
        return 0
    except redis.RedisError as fault:
        if not (isinstance(fault, REDIS_AWAY) or writes_refused(fault)):
            raise
        # In order: that Redis is away or refuses writes says nothing against the batch in hand.
        logger.warning("worker leaves, to come back fresh: Redis is away", extra={"cause": str(fault)})
        return 0
    except ShapboxError as fault:
        logger.critical("the worker cannot start: %s", fault)
    return 1


def _work(settings: Settings, process_name: str) -> int:
    host = host_name(os.environ)
    me = Beacon(f"{host}/{process_name}", host, os.getpid(), secrets.token_hex(8))
    activations = Activations.read(settings.activations_file)
    catalog = ModelCatalog.load(settings.models_dir, settings.standins_dir, activations)
    models = WarmModels(catalog, settings.compiled_dir)
    models.warm_up()
    connection = connect(settings, Patience.STEADY, name=me.name)
    beacons, counters, store = Beacons(connection), Counters(connection), JobStore(connection, settings)
    heartbeat = Heartbeat(beacons, me, counters)
    _start_beating(heartbeat)
    runner = BatchRunner(
        store, Payloads.open(settings), models, counters, Recovery(connection, store), me, Event()
    )
    task.install(runner)
    worker = _rq_worker(settings, me)
    memory_limit_mb = settings.worker_memory_limit_mb or settings.memory_limit_mb
    worker.attach(heartbeat, runner, memory_limit_mb, ShapReturn(connection, me.token))
    limit_growth(cap_bytes(settings))
    logger.info("worker ready", extra={"pid": me.pid, "worker": me.name})
    try:
        time.sleep(rest_of_start(os.environ))  # a batch that kills it must not look like a start that failed
        worker.work(logging_level="WARNING")
        counters.flush()
    finally:
        heartbeat.stop()
    return int(worker.broken)


def _rq_worker(settings: Settings, me: Beacon) -> BatchWorker:
    connection = connect(settings, Patience.BLOCKING, name=f"{me.name}-rq")
    rq_name = me.name.replace("/", "-")
    # The names are the same at each start, so RQ still knows the life before, and would refuse this one.
    connection.delete(f"{BatchWorker.redis_worker_namespace_prefix}{rq_name}")
    return BatchWorker(
        [rq_queue(connection, lane) for lane in Lane],
        name=rq_name,
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=RQ_WORKER_TTL,
        log_job_description=False,
    )


def _start_beating(heartbeat: Heartbeat) -> None:
    """Return when Redis answers and takes writes; supervisord starts all programs at once."""
    waited = False
    while True:
        try:
            heartbeat.start()
        except redis.RedisError as fault:
            if not (isinstance(fault, REDIS_AWAY) or writes_refused(fault)):
                raise
            if not waited:
                logger.info("waiting for Redis", extra={"cause": str(fault)})
            waited = True
            time.sleep(REDIS_WAIT)
        else:
            return


def _offer_to_the_oom_killer() -> None:
    with suppress(OSError):  # not on every kernel, and no reason not to work
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ), encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
