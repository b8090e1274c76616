"""The api of this machine: its address, and one call that needs only the standard library."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from shared.settings import Settings

#: The addresses that a server binds for "every address": a client calls the loopback address instead.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # compared, not bound


def local_address(settings: Settings) -> str:
    """Return the appliance's address without a slash at its end."""
    host = _EVERYWHERE.get(settings.host) or (f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


def ask(settings: Settings, path: str, seconds: float = 2.0) -> tuple[int, str] | None:
    """Get a path that needs no key; return the status and the text, or None if nothing answers."""
    connection = http.client.HTTPConnection(urlsplit(local_address(settings)).netloc, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
