"""supervisord, as boot becomes it: one log format, and an end when the terminal closes.

supervisord answers SIGHUP by restarting every program, which would leave the appliance running behind a
closed terminal. Its own log lines follow LOG_FORMAT, and so do those of its programs.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from supervisor import loggers, supervisord

from ops.run.output.line_stream import LineStream
from ops.run.output.patient_output import PatientOutput
from ops.run.output.programs import PRINTED
from ops.run.waker import Waker
from shared.log import configure_logging, line_formatter
from shared.settings import LogFormat, Settings

#: supervisord's level numbers are the standard library's; below 10 it has two more.
_LEVELS = frozenset({logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO})
#: supervisord's warning, as critical, that its socket asks for no password.
_OPEN_SOCKET = "running without any HTTP authentication checking"
#: The program whose text is for a person to read and to paste from.
FOR_PEOPLE = "announce"


class Options(supervisord.ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """supervisord's options, with some answers of ours."""

    #: Set before the options are read, since supervisord makes them itself.
    log_format = LogFormat.TEXT
    log_level = logging.INFO

    def __init__(self) -> None:
        super().__init__()
        self._formatter = line_formatter(self.log_format, "supervisor")
        self._output = PatientOutput(sys.stdout.fileno(), self._gap_line)

    def setsignals(self) -> None:
        """Wake up for signals, and answer a closed terminal as if it were an end."""
        super().setsignals()
        Waker().listen(self.get_socket_map())
        signal.signal(
            signal.SIGHUP, lambda _number, _frame: self.signal_receiver.receive(signal.SIGTERM, None)
        )

    def make_logger(self) -> None:
        """Log to standard output, in the one shape."""
        self.logger = loggers.getLogger(self.loglevel)
        handler = _Handler(self.print_record)
        handler.setLevel(max(self.loglevel, self.log_level))
        self.logger.addHandler(handler)
        for message in self.parse_criticals:
            self.logger.critical(message)
        for message in [*self.parse_warnings, *self.parse_infos]:
            self.logger.debug(message)

    def processes_from_section(self, parser: Any, section: str, group_name: str, klass: Any = None) -> Any:
        """Make programs whose output is in the one shape."""
        return super().processes_from_section(parser, section, group_name, PRINTED[klass])

    def make_stream(self, service: str, process: str) -> LineStream:
        """Return what makes lines of a process's output."""
        formatter = line_formatter(self.log_format, service, None if process == service else process)
        verbatim = service == FOR_PEOPLE and self.log_format is LogFormat.TEXT
        return LineStream(formatter, self.log_level, verbatim=verbatim)

    def print_lines(self, lines: bytes) -> None:
        """Print lines in the shape."""
        self._output.write(lines)

    def print_record(self, level: int, message: str) -> None:
        """Print a line of supervisord's own."""
        self.print_lines(self._line(level, message))

    def usage(self, msg: str) -> NoReturn:
        """End for a fault of the command line or the configuration."""
        self.print_record(logging.CRITICAL, f"supervisord cannot start: {msg}")
        sys.exit(2)

    def _gap_line(self, count: int) -> bytes:
        return self._line(logging.WARNING, "lines are missing here: nobody took them in time", lines=count)

    def _line(self, level: int, message: str, **fields: object) -> bytes:
        made = {"name": "supervisord", "levelno": level, "levelname": logging.getLevelName(level)}
        record = logging.makeLogRecord({**made, "msg": message, **fields})
        return self._formatter.format(record).encode() + b"\n"


class _Handler(loggers.Handler):  # type: ignore[misc]
    """Passes supervisord's records on."""

    def __init__(self, print_record: Callable[[int, str], None]) -> None:
        super().__init__()
        self._print_record = print_record

    def emit(self, record: Any) -> None:
        if _OPEN_SOCKET in str(record.msg):
            return  # the socket is a file for its owner only
        level = record.level if record.level in _LEVELS else logging.DEBUG
        self._print_record(level, record.asdict()["message"].rstrip("\n"))

    def close(self) -> None:
        """There is nothing to close."""


def main(log_format: str, log_level: str) -> None:
    """Run supervisord with the command line's other arguments."""
    settings = Settings(log_format=LogFormat(log_format), log_level=log_level)
    configure_logging(settings, "supervisor", sys.stdout)  # for what nobody catches
    Options.log_format = settings.log_format
    Options.log_level = logging.getLevelNamesMapping()[log_level]
    supervisord.ServerOptions = Options
    supervisord.main(sys.argv[3:])


if __name__ == "__main__":
    main(*sys.argv[1:3])
