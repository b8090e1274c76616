"""supervisord's events, which it writes to our standard input.

Standard output belongs to the protocol alone: READY, then a RESULT for each event. An event is acknowledged before it is
acted on, since a refused one would come again and again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from services.monitor.events.programs import FATAL, ONE_SHOTS, WORKER_GROUP

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


@dataclass(frozen=True, slots=True)
class ExitReport:
    """supervisord saw a program's process exit; `pid` if it said which."""

    process_name: str
    pid: int | None
    in_order: bool
    is_worker: bool = True


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


def note_exit(event: Event) -> ExitReport | None:
    """Log an event about a program that died; return a report of an exit, but of one-shots."""
    state, fields = event.name.removeprefix(PROCESS_STATE), event.fields
    if state not in ENDED_STATES or "processname" not in fields:
        return None
    name, group = fields["processname"], fields.get("groupname", "")
    pid = int(fields.get("pid", "0")) or None  # unknown of a process that dies while it starts
    if state == FATAL and group not in ONE_SHOTS:
        logger.error("supervisord has given up on a program", extra={"program": name})
    elif state == "EXITED" and fields.get("expected") == "0":
        logger.warning("a program died", extra={"program": name, "ended_pid": pid})
    in_order = state == "STOPPED" or fields.get("expected") == "1"
    return None if group in ONE_SHOTS else ExitReport(name, pid, in_order, group == WORKER_GROUP)


def _fields(line: bytes) -> dict[str, str]:
    words = line.decode("utf-8", errors="replace").split()
    return dict(word.split(":", 1) for word in words if ":" in word)


def _say(stdout: BinaryIO, words: bytes) -> None:
    stdout.write(words)
    stdout.flush()
