"""Errors between us and Render's API. Each says what to do, and none holds a secret."""

from __future__ import annotations


class RenderError(Exception):
    """Render did not do what was asked. The message says why and what to do."""


class KeyRefusedError(RenderError):
    """The key is no key (401), or has no right to do this (403)."""


class NotThereError(RenderError):
    """The object does not exist (404), or this key does not see it."""


class RefusedError(RenderError):
    """Render understood, and said no (4xx)."""


class NoAnswerError(RenderError):
    """Render is unreachable, broken (5xx), or asks for more patience than there is."""


class UncertainError(RenderError):
    """An order was sent and no answer came: whether it is carried out must be looked up."""
