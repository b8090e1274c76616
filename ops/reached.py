"""An appliance as its clients reach it: address, keys, calls, and its output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

from shapbox import NoAnswerError, Response, Shapbox

#: Seconds that one call may take: longer than any `Prefer: wait`.
CALL_SECONDS = 90.0


class Reached(ABC):
    """`url` has no slash at its end."""

    url: str

    @abstractmethod
    def key(self, name: str) -> str:
        """Return the key or token with this setting's name."""

    @abstractmethod
    def log(self) -> str:
        """Return all that it has printed."""

    @property
    def api_key(self) -> str:
        """The key for jobs."""
        return self.key("API_KEY")

    @property
    def admin_key(self) -> str:
        """The key for changing models."""
        return self.key("ADMIN_API_KEY")

    @property
    def metrics_token(self) -> str:
        """The token for /metrics."""
        return self.key("METRICS_TOKEN")

    def get(self, path: str, key: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """Get a path with a key (API_KEY by default)."""
        return self.call("GET", path, None, key, headers)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Make one call with a key (API_KEY by default). Raises NoAnswerError."""
        sent = {"Authorization": f"Bearer {key or self.api_key}", **(headers or {})}
        return self._box.call(method, path, body, sent, CALL_SECONDS)

    def is_ready(self) -> bool:
        """Return whether it can take work."""
        try:
            return self._box.call("GET", "/readyz", seconds=2.0).status == 200
        except NoAnswerError:
            return False

    @cached_property
    def _box(self) -> Shapbox:
        return Shapbox(self.url, "")

    def log_tail(self, lines: int = 40) -> str:
        """Return the last of what it has printed."""
        return "\n".join(self.log().splitlines()[-lines:])
