"""The one error of the demo."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on, or a value is wrong. The message says which and what to do."""
