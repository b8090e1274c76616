"""From SVG to PNG, by resvg: a renderer that needs nothing of a system but a font.

It runs in a process of its own (services/api/results/plots/png_writer.py): resvg keeps the GIL while it works, a tenth of a second
in which the api would answer nobody, and what it maps into memory goes with the process.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from pathlib import Path

from services.api.http.concurrency_limits import BusyError
from shared.build import ROOT
from shared.errors import NotAcceptableError
from shared.font import FILE, PACKAGE, find_font

#: Seconds that a picture may take: a tenth of one, on an idle machine.
TIMEOUT = 20.0
#: One is written at a time: the process takes some 30 MB for a usual picture, and 100 for the largest.
_one = threading.Lock()


def render_png(svg: bytes) -> bytes:
    """Return the picture. Raises NotAcceptableError where there is no font: it would have no words.

    Raises BusyError where there was no time or no memory for it.
    """
    font = _font()
    if font is None:
        raise NotAcceptableError(
            f"No PNG can be written here, since the font {FILE} is not there: install it (Debian, Ubuntu: apt-get "
            f"install {PACKAGE}) and start again, or ask for image/svg+xml."
        )
    command = [sys.executable, "-m", "services.api.results.plots.png_writer", str(font)]
    try:
        with _one:
            return subprocess.run(  # noqa: S603  # our own module, and no shell
                command, input=svg, stdout=subprocess.PIPE, cwd=ROOT, timeout=TIMEOUT, check=True
            ).stdout
    except subprocess.TimeoutExpired as fault:
        raise BusyError(
            f"The picture was not written in {TIMEOUT:g} s: ask for fewer lines, or for SVG."
        ) from fault
    except subprocess.CalledProcessError as fault:
        if fault.returncode > 0:
            raise
        raise BusyError("There was no memory for the picture: ask for fewer lines, or for SVG.") from fault


@functools.cache
def _font() -> Path | None:
    return find_font()
