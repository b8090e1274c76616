"""The api of this machine: its address, and one call that needs only the standard library."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from shared.network import is_everywhere
from shared.settings import Settings


def local_address(settings: Settings) -> str:
    """Return the appliance's address, with URL_PREFIX and without a slash at its end."""
    # A listener on `::` takes IPv4 as well, also in a container without IPv6 addresses.
    host = "127.0.0.1" if is_everywhere(settings.host) else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}{settings.url_prefix}"


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
