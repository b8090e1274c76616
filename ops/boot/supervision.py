"""supervisord, as boot becomes it: with our log lines, and ended, not reloaded, when the terminal closes.

supervisord answers SIGHUP by restarting every program, which would leave the appliance running behind a
closed terminal. Its own log lines follow LOG_FORMAT like those of all programs.
"""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

from supervisor import loggers, supervisord

from shared.log import JsonFormatter, TextFormatter
from shared.settings import LogFormat

#: supervisord's level numbers, as the standard library's.
_LEVELS = {50: logging.CRITICAL, 40: logging.ERROR, 30: logging.WARNING, 20: logging.INFO}

#: supervisord's warning, as critical, that its socket asks for no password.
_OPEN_SOCKET = "running without any HTTP authentication checking"


class Options(supervisord.ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """supervisord's options, with two answers of ours."""

    #: Set before the options are read, since supervisord makes them itself.
    log_format = LogFormat.TEXT

    def setsignals(self) -> None:
        """Answer a closed terminal as if it were an end."""
        super().setsignals()
        signal.signal(
            signal.SIGHUP, lambda _number, _frame: self.signal_receiver.receive(signal.SIGTERM, None)
        )

    def make_logger(self) -> None:
        """Log to standard output, in the one shape."""
        self.logger = loggers.getLogger(self.loglevel)
        handler = _StandardOutput(self.log_format)
        handler.setLevel(self.loglevel)
        self.logger.addHandler(handler)
        for message in self.parse_criticals:
            self.logger.critical(message)
        for message in [*self.parse_warnings, *self.parse_infos]:
            self.logger.debug(message)


class _StandardOutput(loggers.Handler):  # type: ignore[misc]
    """Writes supervisord's records as lines of ours."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__(sys.stdout)
        json = log_format is LogFormat.JSON
        self.formatter = JsonFormatter("supervisor") if json else TextFormatter("supervisor")

    def emit(self, record: Any) -> None:
        if _OPEN_SOCKET in str(record.msg):
            return  # the socket is a file for its owner only
        level = _LEVELS.get(record.level, logging.DEBUG)
        fields = {"name": "supervisord", "levelno": level, "levelname": logging.getLevelName(level)}
        line = logging.makeLogRecord({**fields, "msg": record.asdict()["message"]})
        self.stream.write(self.formatter.format(line) + "\n")
        self.stream.flush()


def main(log_format: str) -> None:
    """Run supervisord with the command line's other arguments."""
    Options.log_format = LogFormat(log_format)
    supervisord.ServerOptions = Options
    supervisord.main(sys.argv[2:])


if __name__ == "__main__":
    main(sys.argv[1])
