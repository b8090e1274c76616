"""supervisord's reports: its events at once, and its own list now and then.

As an event listener we read events on standard input. Standard output belongs to the protocol alone: READY, then a RESULT
for each event. An event is acknowledged before it is acted on, since a refused one would come again and again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.monitor.events.programs import FATAL, ONE_SHOTS, WORKER_GROUP, Program, Programs
from services.monitor.events.supervisor_rpc import SupervisorAwayError, SupervisorStoppingError, list_programs

#: The answers of a listener: it can take an event, and it has taken it.
READY, TAKEN = b"READY\n", b"RESULT 2\nOK"
#: The states of a process that has ended.
ENDED_STATES = frozenset({"EXITED", "BACKOFF", "STOPPED", FATAL})
#: The names of events about a process begin with this; its state follows.
PROCESS_STATE = "PROCESS_STATE_"
#: The event that announces the stop of all programs.
STOPPING = "SUPERVISOR_STATE_CHANGE_STOPPING"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, such as PROCESS_STATE_EXITED, and its fields, such as processname."""

    name: str
    fields: Mapping[str, str]


def read_events(stdin: BinaryIO, stdout: BinaryIO) -> Iterator[Event]:
    """Yield events until supervisord closes the pipe. Raises BrokenPipeError in mid-answer."""
    while True:
        _say(stdout, READY)
        header = _fields(stdin.readline())
        if "len" not in header:  # end of file, or cut off in the middle: supervisord has gone
            return
        payload = stdin.read(int(header["len"]))
        _say(stdout, TAKEN)
        yield Event(header.get("eventname", ""), _fields(payload))


class Listener:
    """Passes reports on.

    `on_worker_exit` gets a worker's process name, its id (None if unknown) and whether it exited in order; `on_stopping`
    is called when all programs are being stopped, perhaps more than once.
    """

    def __init__(
        self,
        programs: Programs,
        supervisor_socket: Path,
        on_worker_exit: Callable[[str, int | None, bool], None],
        on_stopping: Callable[[], None],
    ) -> None:
        self._programs = programs
        self._socket = supervisor_socket
        self._on_worker_exit = on_worker_exit
        self._on_stopping = on_stopping
        self._away = False

    def handle(self, event: Event) -> None:
        """Act on one event. This must be quick: supervisord sends the next one only after it."""
        if event.name == STOPPING:
            logger.info("all programs are being stopped")
            self._on_stopping()
        elif event.name.startswith(PROCESS_STATE) and "processname" in event.fields:
            self._handle_state(event.name.removeprefix(PROCESS_STATE), event)

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

    def _handle_state(self, state: str, event: Event) -> None:
        fields = event.fields
        pid = int(fields["pid"]) if fields.get("pid", "0") != "0" else None
        program = Program(fields.get("groupname", ""), fields["processname"], state, pid)
        ended = state in ENDED_STATES
        before = self._programs.changed(program)
        if ended and program.group == WORKER_GROUP:
            # A process that dies while it starts is reported without its id.
            orderly = state == "STOPPED" or fields.get("expected") == "1"
            self._on_worker_exit(program.name, pid or (before.pid if before else None), orderly)
        if state == FATAL and program.group not in ONE_SHOTS:
            logger.error("supervisord has given up on a program", extra={"program": program.name})
        elif state == "EXITED" and fields.get("expected") == "0":
            logger.warning("a program died", extra={"program": program.name, "ended_pid": pid})


def _fields(line: bytes) -> dict[str, str]:
    words = line.decode("utf-8", errors="replace").split()
    return dict(word.split(":", 1) for word in words if ":" in word)


def _say(stdout: BinaryIO, words: bytes) -> None:
    stdout.write(words)
    stdout.flush()
