"""Passes on what supervisord tells: by its events at once, and by its own list now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from services.monitor.events.programs import FATAL, ONE_SHOTS, WORKER_GROUP, Program, Programs
from services.monitor.events.supervisor_events import Event
from services.monitor.events.supervisor_rpc import SupervisorAwayError, SupervisorStoppingError, list_programs

#: The states that say that a process is not there any more.
ENDED_STATES = frozenset({"EXITED", "BACKOFF", "STOPPED", FATAL})
#: How the events are called that tell of a process, before the state's name.
PROCESS_STATE = "PROCESS_STATE_"
#: The event that says that all will be stopped.
STOPPING = "SUPERVISOR_STATE_CHANGE_STOPPING"

logger = logging.getLogger(__name__)


class Listener:
    """`on_worker_left` gets a worker's process name, its id (None if unknown) and whether it ended in order."""

    def __init__(
        self,
        programs: Programs,
        supervisor_socket: Path,
        on_worker_left: Callable[[str, int | None, bool], None],
        on_stopping: Callable[[], None],
    ) -> None:
        self._programs = programs
        self._socket = supervisor_socket
        self._on_worker_left = on_worker_left
        self._on_stopping = on_stopping
        self._away = False

    def heed(self, event: Event) -> None:
        """Act on one event. Quick: supervisord sends the next one only after it."""
        if event.name == STOPPING:
            logger.info("everything is being stopped")
            self._on_stopping()
        elif event.name.startswith(PROCESS_STATE) and "processname" in event.fields:
            self._heed_state(event.name.removeprefix(PROCESS_STATE), event)

    def poll(self) -> None:
        """Ask supervisord for all states, in case an event was missed."""
        as_of = self._programs.version
        try:
            programs = list_programs(self._socket)
        except SupervisorStoppingError:
            self._on_stopping()
        except SupervisorAwayError as fault:
            if not self._away:
                logger.warning("%s", fault)
            self._away = True
        else:
            self._away = False
            self._programs.adopt(programs, as_of)

    def _heed_state(self, state: str, event: Event) -> None:
        fields = event.fields
        pid = int(fields["pid"]) if fields.get("pid", "0") != "0" else None
        program = Program(fields.get("groupname", ""), fields["processname"], state, pid)
        ended = state in ENDED_STATES
        before = self._programs.changed(program)
        if ended and program.group == WORKER_GROUP:
            # A process that dies while it starts is reported without its id.
            in_order = state == "STOPPED" or fields.get("expected") == "1"
            self._on_worker_left(program.name, pid or (before.pid if before else None), in_order)
        if state == FATAL and program.group not in ONE_SHOTS:
            logger.error("supervisord has given a program up", extra={"program": program.name})
        elif state == "EXITED" and fields.get("expected") == "0":
            logger.warning("a program died", extra={"program": program.name, "ended_pid": pid})
