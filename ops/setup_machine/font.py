"""The font for plots as PNG. SVG needs none, so a machine without it is no failure."""

from __future__ import annotations

import contextlib

from ops.setup_machine import debian
from ops.setup_machine.commands import say
from ops.setup_machine.failure import SetupError
from shared.font import FILE, PACKAGE, find_font


def ensure_font() -> None:
    """Install the font if it is not here, or say what its absence means."""
    if find_font() is not None:
        return
    if debian.can_install():
        with contextlib.suppress(SetupError):
            debian.install([PACKAGE])
    if find_font() is None:
        say(
            f"The font {FILE} is missing: plots come as SVG and not as PNG (Debian, Ubuntu: apt-get install {PACKAGE})."
        )
