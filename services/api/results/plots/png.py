"""From SVG to PNG by resvg, a renderer that needs nothing from a system but a font.

It runs in a process of its own (png_process.py): resvg holds the GIL for a tenth of a second, in which the api would
answer no request, and the memory that it maps is freed with the process.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading

from services.api.http.concurrency_limits import BusyError
from services.api.results.plots.svg import Drawing
from shared.build import ROOT
from shared.child_environment import child_environment
from shared.errors import NotAcceptableError
from shared.font import FILE, PACKAGE, find_font

#: Seconds that a picture may take. On an idle machine it takes a tenth of one.
TIMEOUT = 20.0
#: Pixels for each of the drawing's along an edge, and the most pixels of a picture. A pixel takes 4 bytes, and as many
#: again while the picture is compressed.
ZOOM, MOST_PIXELS = 2.0, 4_000_000
#: One is written at a time: the process takes some 30 MB for a usual picture, and 100 for the largest.
_one = threading.Lock()


def render_png(drawing: Drawing) -> bytes:
    """Return the picture.

    Raises NotAcceptableError without a font, since text would be missing, and BusyError without enough time or memory.
    """
    font = find_font()
    if font is None:
        raise NotAcceptableError(
            f"PNG is not available, because the font {FILE} is missing. Install it (Debian, Ubuntu: apt-get install "
            f"{PACKAGE}), or request image/svg+xml."
        )
    zoom = min(ZOOM, math.sqrt(MOST_PIXELS / (drawing.width * drawing.height)))
    command = [sys.executable, "-m", "services.api.results.plots.png_process", str(font), str(zoom)]
    try:
        with _one:
            return subprocess.run(  # noqa: S603  # our own module, and no shell
                command,
                input=drawing.svg(),
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=child_environment(),
                timeout=TIMEOUT,
                check=True,
            ).stdout
    except subprocess.TimeoutExpired as fault:
        raise BusyError(f"The picture took more than {TIMEOUT:g} s. Request fewer lines, or SVG.") from fault
    except subprocess.CalledProcessError as fault:
        if fault.returncode > 0:
            raise
        raise BusyError("Not enough memory for the picture. Request fewer lines, or SVG.") from fault
