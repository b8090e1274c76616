"""The one error of the set-up."""

from __future__ import annotations


class SetupError(Exception):
    """The machine cannot be made ready. The message is one line that says what to do."""
