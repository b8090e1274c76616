"""Response headers that keep browsers from misusing an answer."""

from __future__ import annotations

from typing import Any

#: An answer that is opened as a page may load nothing and be in no frame. The console and /docs have their own policy.
POLICY = "default-src 'none'; frame-ancestors 'none'"


class SafeHeaders:
    """Falcon middleware that adds the headers to every response, errors included."""

    def process_response(self, _req: Any, resp: Any, _resource: Any, _succeeded: bool) -> None:  # noqa: FBT001  # falcon calls it so
        """Add what the resource has not set."""
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "no-referrer")
        if resp.get_header("Content-Security-Policy") is None:
            resp.set_header("Content-Security-Policy", POLICY)
