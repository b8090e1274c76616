"""Runs one worker process: `python -m services.worker --name worker-1`."""

from __future__ import annotations

import argparse
import itertools
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

from services.worker.batch import BatchRunner
from services.worker.exits import ShapReturn, cap_bytes, limit_growth
from services.worker.heartbeat import HeartbeatThread
from services.worker.models import WarmModels
from services.worker.worker import BatchWorker
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.program_start import host_name, rest_of_start
from shared.cgroup import usable_processors
from shared.errors import SettingsError, ShapboxError
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.log import configure_logging
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect, is_outage
from shared.settings import Settings
from shared.timing import TIMING

logger = logging.getLogger(__name__)

#: Added to a worker's badness, so that the kernel kills a worker first if it must: that loses the least.
OOM_SCORE_ADJ = 500
#: The nice value of workers where there are several processors: clients wait for the api, which goes first.
NICENESS = 15
#: The nice value on a single processor, where a few busy clients of the api could keep batches from ending. On several
#: processors they cannot: Python runs one of the api's threads at a time.
NICENESS_ALONE = 2
#: The variables for the threads of native libraries, one each: workers share the cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run one worker until a stop signal or a reason to exit; return the exit code."""
    parser = argparse.ArgumentParser(description="A Shapbox worker: explains one batch at a time.")
    parser.add_argument("--name", required=True, help="the name on this host, such as worker-1")
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
        if not is_outage(fault):
            raise
        # Exit code 0: the batch in hand is not to blame.
        logger.warning("worker exits and starts again: Redis is away", extra={"cause": str(fault)})
        return 0
    except ShapboxError as fault:
        logger.critical("the worker cannot start: %s", fault)
    return 1


def _work(settings: Settings, process_name: str) -> int:
    host = host_name(os.environ)
    me = Heartbeat(f"{host}/{process_name}", host, os.getpid(), secrets.token_hex(8))
    activations = Activations.read(settings.activations_file)
    catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
    models = WarmModels(catalog, settings.compiled_dir)
    models.warm_up()
    connection = connect(settings, Patience.STEADY, name=me.name)
    counters, store = Counters(connection), JobStore(connection, settings)
    heartbeat = HeartbeatThread(Heartbeats(connection), me, counters)
    _start_beating(heartbeat)
    runner = BatchRunner(
        store=store,
        payloads=Payloads.open(settings),
        models=models,
        counters=counters,
        recovery=Recovery(connection, store),
        me=me,
        stopping=Event(),
        shap_return=ShapReturn(connection, me.token),
    )
    blocking = connect(settings, Patience.BLOCKING, name=f"{me.name}-rq")
    memory_limit_mb = settings.worker_memory_limit_mb or settings.memory_limit_mb
    worker = BatchWorker(blocking, runner, heartbeat, memory_limit_mb)
    limit_growth(cap_bytes(settings))
    logger.info("worker ready", extra={"pid": me.pid, "worker": me.name})
    try:
        # A batch that kills the process must not look like a failed start.
        time.sleep(rest_of_start(os.environ))
        worker.serve()
        counters.flush()
    finally:
        heartbeat.stop()
    return int(worker.broken)


def _start_beating(heartbeat: HeartbeatThread) -> None:
    """Start the heartbeat once Redis takes writes; supervisord starts all programs at once."""
    for attempt in itertools.count():
        try:
            heartbeat.start()
        except redis.RedisError as fault:
            if not is_outage(fault):
                raise
            if attempt == 0:
                logger.info("waiting for Redis", extra={"cause": str(fault)})
            time.sleep(TIMING.redis_retry_seconds)
        else:
            return


def _offer_to_the_oom_killer() -> None:
    with suppress(OSError):  # not every kernel has it
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ), encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
