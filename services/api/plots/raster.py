"""From SVG to PNG, by resvg: a renderer that needs nothing of a system but a font.

It runs in a process of its own (services/api/plots/png_writer.py): resvg keeps the GIL while it works, a tenth of a second
in which the api would answer nobody, and what it maps into memory goes with the process.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from shared.build import ROOT
from shared.errors import NotAcceptableError
from shared.font import FILE, PACKAGE, find_font

#: Seconds that a picture may take: a tenth of one, on an idle machine.
TIMEOUT = 20.0


def render_png(svg: bytes) -> bytes:
    """Return the picture. Raises NotAcceptableError where there is no font: it would have no words."""
    font = _font()
    if font is None:
        raise NotAcceptableError(
            f"No PNG can be written here, since the font {FILE} is not there: install it (Debian, Ubuntu: apt-get "
            f"install {PACKAGE}) and start again, or ask for image/svg+xml."
        )
    command = [sys.executable, "-m", "services.api.plots.png_writer", str(font)]
    return subprocess.run(  # noqa: S603  # our own module, and no shell
        command, input=svg, stdout=subprocess.PIPE, cwd=ROOT, timeout=TIMEOUT, check=True
    ).stdout


@functools.cache
def _font() -> Path | None:
    return find_font()
