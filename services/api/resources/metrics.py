"""/metrics: the metrics that the monitor exports, on the public port and behind a key."""

from __future__ import annotations

import contextlib
import http.client
from typing import Any

from services.api.http.authentication import Access
from services.api.resources.resource import Resource
from shared.errors import ShapboxError

#: Seconds that the monitor has to answer.
TIMEOUT = 2.0
#: Bytes of its response, at most.
MAX_BYTES = 8 * 2**20


class MonitorAwayError(ShapboxError, status=503, title="The monitor does not answer", retry_after=5):
    """The monitor does not answer."""


class MetricsResource(Resource, access=Access.METRICS):
    """Passes the monitor's exposition on."""

    def on_get(self, req: Any, resp: Any) -> None:
        """Fetch the exposition and answer with it."""
        port = self._components.settings.metrics_port
        wanted = req.get_header("Accept")
        try:
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            ) as monitor:
                monitor.request("GET", "/metrics", headers={"Accept": wanted} if wanted else {})
                answer = monitor.getresponse()
                text = answer.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as fault:
            raise MonitorAwayError(
                f"Cannot read metrics from the monitor ({fault}). It restarts on its own; try again."
            ) from fault
        if answer.status != 200:
            raise MonitorAwayError(f"Cannot read metrics from the monitor: it answered {answer.status}.")
        resp.set_header("Cache-Control", "no-store")
        resp.content_type = answer.getheader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        resp.data = text
