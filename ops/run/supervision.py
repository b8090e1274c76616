"""supervisord, as boot becomes it: one log format, and an end when the terminal closes.

supervisord answers SIGHUP by restarting every program, which would leave the appliance running behind a
closed terminal. Its own log lines follow LOG_FORMAT, and so does what its programs print.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from supervisor import dispatchers, loggers, process, supervisord

from ops.run.output import LineStream
from ops.run.patient_output import PatientOutput
from ops.run.program_environment import needed_by, passed_on
from shared.log import configure_logging, line_formatter
from shared.settings import LogFormat, Settings

#: supervisord's level numbers are the standard library's; below 10 it has two more.
_LEVELS = frozenset({logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO})
#: supervisord's warning, as critical, that its socket asks for no password: it is a file for its owner only.
_OPEN_SOCKET = "running without any HTTP authentication checking"
#: The program whose text is for a person to read and to paste from.
FOR_PEOPLE = "announce"


class Options(supervisord.ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """supervisord's options, with some answers of ours."""

    #: Set before the options are read, since supervisord makes them itself.
    log_format = LogFormat.TEXT
    log_level = logging.INFO
    #: The variables that the programs may need.
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        super().__init__()
        self._formatter = line_formatter(self.log_format, "supervisor")
        self.output = PatientOutput(
            sys.stdout.fileno(),
            lambda count: self.line(
                logging.WARNING, "lines are missing here: nobody took them in time", lines=count
            ),
        )

    def setsignals(self) -> None:
        """Wake up for signals, and answer a closed terminal as if it were an end."""
        super().setsignals()
        waker = _Waker()
        self.get_socket_map()[waker.heard] = waker
        signal.signal(
            signal.SIGHUP, lambda _number, _frame: self.signal_receiver.receive(signal.SIGTERM, None)
        )

    def make_logger(self) -> None:
        """Log to standard output, in the one format."""
        self.logger = loggers.getLogger(self.loglevel)
        handler = _Handler(self)
        handler.setLevel(max(self.loglevel, self.log_level))
        self.logger.addHandler(handler)

    def execve(self, filename: str, argv: list[str], env: dict[str, str]) -> None:
        """Become a program, with the variables that it reads."""
        super().execve(filename, argv, needed_by(env["SUPERVISOR_GROUP_NAME"], {**self.environment, **env}))

    def line(self, level: int, message: str, **fields: object) -> bytes:
        """Return a line of supervisord's own."""
        made = {"name": "supervisord", "levelno": level, "levelname": logging.getLevelName(level)}
        record = logging.makeLogRecord({**made, "msg": message, **fields})
        return self._formatter.format(record).encode() + b"\n"


class _Handler(loggers.Handler):  # type: ignore[misc]
    """Prints supervisord's records."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options

    def emit(self, record: Any) -> None:
        if _OPEN_SOCKET not in str(record.msg):
            level = record.level if record.level in _LEVELS else logging.DEBUG
            self._options.output.write(self._options.line(level, record.asdict()["message"].rstrip("\n")))

    def close(self) -> None:
        """Print the last lines, which nobody may have taken yet."""
        self._options.output.finish()


class _Waker:
    """Wakes supervisord when a signal comes: when a program has ended, and when it is to stop.

    supervisord looks once a second, and when a pipe has something to read. A program that ends closes its pipes, but may
    not be gone at that moment, and since Python 3.5 a signal no longer breaks into a wait. So an end could be noticed a
    second late, and a program that ended at once then counted as one that had started: it was never given up.
    """

    def __init__(self) -> None:
        self.heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        """Forget what has come: to have been woken is all."""
        os.read(self.heard, 512)

    def handle_error(self) -> None:
        """Nothing can go wrong that would matter."""


class Output(dispatchers.POutputDispatcher):  # type: ignore[misc]
    """Reads one pipe of one process, and prints what comes as lines in the format."""

    output_buffer: bytes

    def __init__(self, owner: Any, event_type: Any, fd: int) -> None:
        super().__init__(owner, event_type, fd)
        options: Options = owner.config.options
        self._print = options.output.write
        service, name = owner.group.config.name, owner.config.name
        formatter = line_formatter(options.log_format, service, None if name == service else name)
        verbatim = service == FOR_PEOPLE and options.log_format is LogFormat.TEXT
        self._stream = LineStream(formatter, options.log_level, verbatim=verbatim)

    def record_output(self) -> None:
        """Print what has been read."""
        data, self.output_buffer = self.output_buffer, b""
        self._print(self._stream.feed(data))

    def readable(self) -> bool:
        """Print what has waited long enough, too: supervisord asks this at least once a second."""
        self._print(self._stream.settle())
        return bool(super().readable())

    def close(self) -> None:
        """Print what is left."""
        self.end()
        super().close()

    def end(self) -> None:
        """Print what is left. Comes twice where the pipe has been read to its end."""
        self._print(self._stream.end())


class Program(process.Subprocess):  # type: ignore[misc]
    """A process whose last words are printed, also those without an end of line."""

    def drain(self) -> None:
        """Read what a process that has ended left in its pipes."""
        super().drain()
        for dispatcher in self.dispatchers.values():
            if isinstance(dispatcher, Output):
                dispatcher.end()


def main(log_format: str, log_level: str) -> None:
    """Run supervisord with the command line's other arguments."""
    settings = Settings(log_format=LogFormat(log_format), log_level=log_level)
    configure_logging(settings, "supervisor", sys.stdout)  # for what nobody catches
    Options.log_format = settings.log_format
    Options.log_level = logging.getLevelNamesMapping()[log_level]
    Options.environment = passed_on()
    # supervisord makes these itself, by these names.
    supervisord.ServerOptions, process.Subprocess, dispatchers.POutputDispatcher = Options, Program, Output
    supervisord.main(sys.argv[3:])


if __name__ == "__main__":
    main(*sys.argv[1:3])
