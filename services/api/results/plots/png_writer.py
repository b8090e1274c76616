"""`python -m services.api.results.plots.png_writer FONT`: reads SVG from standard input, writes PNG to standard output."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from pathlib import Path

from resvg_py import svg_to_bytes

#: Pixels for each of the SVG's along an edge; fewer where the picture would have more than so many in all. They take
#: 4 bytes each, and as much again while they are packed.
ZOOM, MOST_PIXELS = 2.0, 4_000_000
#: Bytes at the beginning of an SVG, in which its size stands.
_HEAD = 2000
#: If the kernel must kill, let it choose this process: a picture is soon made again.
_OOM_SCORE_ADJ = "1000"


def main(font: str) -> None:
    """Write one picture. A fault ends the process with its traceback and code 1."""
    with contextlib.suppress(OSError):  # not on every kernel
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ, encoding="ascii")
    svg = sys.stdin.buffer.read().decode()
    sys.stdout.buffer.write(
        svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=[font], zoom=zoom_for(svg))
    )


def zoom_for(svg: str) -> float:
    """Return how many pixels each of the SVG's has along an edge."""
    size = re.search(r' width="([\d.]+)" height="([\d.]+)"', svg[:_HEAD])
    area = float(size[1]) * float(size[2]) if size else 0.0
    return min(ZOOM, math.sqrt(MOST_PIXELS / area)) if area else ZOOM


if __name__ == "__main__":
    main(sys.argv[1])
