"""What Python would print past the log, as records of it: warnings, and exceptions that nobody catches."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO

logger = logging.getLogger("python")


def capture_what_is_printed() -> None:
    """Log warnings and uncaught exceptions from now on, each as one record."""
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line
    logger.warning("%s: %s", category.__name__, message, extra={"where": f"{filename}:{lineno}"})


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        logger.warning("interrupted")
    else:
        logger.critical("the process ends: nobody caught %s", kind.__name__, exc_info=(kind, error, trace))


def _log_thread(what: threading.ExceptHookArgs) -> None:
    name = what.thread.name if what.thread else "?"
    error = what.exc_value or what.exc_type()
    logger.error(
        "the thread %s ends: nobody caught %s",
        name,
        what.exc_type.__name__,
        exc_info=(what.exc_type, error, what.exc_traceback),
    )


def _log_unraisable(what: sys.UnraisableHookArgs) -> None:
    error = what.exc_value or what.exc_type()
    logger.error(
        "%s: %r", what.err_msg or "ignored", what.object, exc_info=(what.exc_type, error, what.exc_traceback)
    )
