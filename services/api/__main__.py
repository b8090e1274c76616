"""The api's process: `python -m services.api`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping

from services.api.app import create_server
from services.api.background import Background
from services.api.components import Components
from services.api.http.server import Server
from shared.appliance.api_load import ApiLoad
from shared.build import git_commit
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.memory import return_free_memory
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from shared.timing import TIMING

#: Seconds between two flushes of the counters, and after which memory of ended connections goes back to the system.
FLUSH_SECONDS, MEMORY_SECONDS = 1.0, 5.0
#: Seconds for which a thread keeps the GIL while others want it; Python's default, 5 ms, is longer than a small request.
SWITCH_SECONDS = 0.0001

_log = logging.getLogger("shapbox.api")


def main(environment: Mapping[str, str]) -> int:
    """Serve until told to stop; returns the exit status."""
    try:
        settings = Settings.from_environment(environment)
        configure_logging(settings, "api")
        sys.setswitchinterval(SWITCH_SECONDS)
        settings.tmp_dir.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.tmp_dir)  # the server puts large bodies into temporary files
        components = _assemble(settings, git_commit(environment))
        server = create_server(components)
    except (ShapboxError, OSError) as fault:
        _log.critical("the api cannot start: %s", fault)
        return 1
    duties = [
        Background("counters", FLUSH_SECONDS, lambda: _report(components, server)),
        Background("storage probe", TIMING.storage_probe_seconds, components.probe.refresh),
        Background(
            "result reservations",
            TIMING.storage_probe_seconds,
            lambda: components.result_reservations.refresh(components.store),
        ),
        Background("free memory", MEMORY_SECONDS, return_free_memory),
    ]
    return _serve(components, server, duties)


def _assemble(settings: Settings, commit: str) -> Components:
    activations = Activations.read(settings.activations_file)
    return Components(
        settings,
        connect(settings, Patience.IMPATIENT, name="api"),
        connect(settings, Patience.STEADY, name="api-background"),
        Payloads.open(settings, patient=False),
        ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations),
        commit,
        activations,
    )


def _report(components: Components, server: Server) -> None:
    """Tell the monitor of the load, and Redis of the counts."""
    load = ApiLoad(len(server.channels), components.job_waits.waiting)
    with contextlib.suppress(OSError):  # a full disk: the monitor knows none then
        load.write(components.settings.load_file)
    components.counters.flush()


def _serve(components: Components, server: Server, duties: list[Background]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())  # a handler does little: the loop does the rest
    components.job_waits.start()
    components.inline_models.start()
    for duty in duties:
        duty.start()
    _log.info("the api listens", extra={"host": components.settings.host, "port": server.port})
    if not components.settings.api_key:
        _log.warning("no API_KEY is set, so nobody can submit jobs: start with `make run`, which makes one")
    server.run(on_stop=components.stop)
    for duty in duties:
        duty.stop()
    # The last counts go in a thread of their own: a Redis that hangs must not hold up the way out.
    last = Background("last counts", FLUSH_SECONDS, components.counters.flush)
    last.start()
    last.stop()
    _log.info("the api has stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
