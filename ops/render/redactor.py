"""Keeps secrets out of all output, from any source: Render's log may contain one."""

from __future__ import annotations

from collections.abc import Iterable

#: Replaces a secret.
HIDDEN = "[secret]"
#: A secret that is shorter would blot out words.
SHORTEST = 6


class Redactor:
    """Takes secrets out of texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Know more of them."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SHORTEST)

    def clean(self, text: str) -> str:
        """Return the text without any of them, the longest first: one may lie within another."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text
