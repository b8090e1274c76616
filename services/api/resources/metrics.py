"""/metrics: what the monitor exports, at the one public port and behind a key."""

from __future__ import annotations

import http.client
from typing import Any

from services.api.components import Parts
from services.api.http.authentication import Access
from shared.errors import ShapboxError

#: Seconds that the monitor has to answer.
TIMEOUT = 2.0
#: Bytes of its answer, at most.
MAX_BYTES = 8 * 2**20


class MonitorAwayError(ShapboxError):
    """The monitor does not answer."""

    status = 503
    slug = "monitor-away"
    title = "The monitor does not answer"
    retry_after = 5


class MetricsResource:
    """Passes the monitor's exposition on."""

    access = Access.METRICS

    def __init__(self, parts: Parts) -> None:
        self._port = parts.settings.metrics_port

    def on_get(self, req: Any, resp: Any) -> None:
        """Fetch the exposition and answer with it."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            wanted = req.get_header("Accept")
            connection.request("GET", "/metrics", headers={"Accept": wanted} if wanted else {})
            answer = connection.getresponse()
            text = answer.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as fault:
            raise MonitorAwayError(
                f"The monitor gives no metrics ({fault}). It is restarted by itself."
            ) from fault
        finally:
            connection.close()
        if answer.status != 200:
            raise MonitorAwayError(f"The monitor gives no metrics: it answered {answer.status}.")
        resp.set_header("Cache-Control", "no-store")
        resp.content_type = answer.getheader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        resp.data = text

    on_head = on_get
