"""The outcome of a start or check: text for a person, or a record, by LOG_FORMAT."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.settings import LogFormat, Settings

_log = logging.getLogger(__name__)


def tell(text: str, settings: Settings) -> None:
    """Say what has come out, on standard output."""
    if settings.log_format is LogFormat.JSON:
        _log.info(text)
    else:
        print(text)


def tell_refusal(error: ShapboxError, environment: Mapping[str, str]) -> None:
    """Print on standard error why there is no start. Of the settings it reads LOG_FORMAT only."""
    if environment.get("LOG_FORMAT", "").strip() == LogFormat.JSON:
        configure_logging(Settings(log_format=LogFormat.JSON), "boot", sys.stderr)
        _log.critical("Shapbox cannot start", extra={"cause": str(error)})
    else:
        print(f"Shapbox cannot start.\n{error}", file=sys.stderr)
