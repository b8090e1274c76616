"""Converts SVG from standard input to PNG on standard output. Its argument is a font file."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from pathlib import Path

from resvg_py import svg_to_bytes

#: Pixels for each of the SVG's along an edge, and the most pixels of a picture. A pixel takes 4 bytes, and as many again
#: while the picture is compressed.
ZOOM, MOST_PIXELS = 2.0, 4_000_000
#: Bytes at the start of an SVG that include its size.
_HEAD = 2000
#: The kernel kills this process first: a picture is soon made again.
_OOM_SCORE_ADJ = "1000"


def main(font: str) -> None:
    """Write one picture. An error ends the process with its traceback and code 1."""
    with contextlib.suppress(OSError):  # not on every kernel
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ, encoding="ascii")
    svg = sys.stdin.buffer.read().decode()
    size = re.search(r' width="([\d.]+)" height="([\d.]+)"', svg[:_HEAD])
    area = float(size[1]) * float(size[2]) if size else 0.0
    zoom = min(ZOOM, math.sqrt(MOST_PIXELS / area)) if area else ZOOM
    png = svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=[font], zoom=zoom)
    sys.stdout.buffer.write(png)


if __name__ == "__main__":
    main(sys.argv[1])
