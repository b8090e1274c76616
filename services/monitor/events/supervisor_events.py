"""supervisord's event listener protocol: it writes events on our standard input and reads our answers.

Standard output belongs to the protocol alone: READY, then for each event a RESULT. Each event is
acknowledged before it is acted on, since an event that is refused would come again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

#: What a listener says when it can take an event, and when it has taken it.
READY, TAKEN = b"READY\n", b"RESULT 2\nOK"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, such as PROCESS_STATE_EXITED, and the payload's fields, such as `processname`."""

    name: str
    fields: Mapping[str, str]


def read_events(stdin: BinaryIO, stdout: BinaryIO) -> Iterator[Event]:
    """Yield events until supervisord closes the pipe. Raises BrokenPipeError if it is gone in mid-answer."""
    while True:
        _say(stdout, READY)
        header = _fields(stdin.readline())
        if "len" not in header:  # end of file, or cut off in the middle: supervisord has gone
            return
        payload = stdin.read(int(header["len"]))
        _say(stdout, TAKEN)
        yield Event(header.get("eventname", ""), _fields(payload))


def _fields(line: bytes) -> dict[str, str]:
    words = line.decode("utf-8", errors="replace").split()
    return dict(word.split(":", 1) for word in words if ":" in word)


def _say(stdout: BinaryIO, words: bytes) -> None:
    stdout.write(words)
    stdout.flush()
