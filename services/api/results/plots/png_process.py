"""Converts SVG from standard input to PNG on standard output.

Its arguments are a font file and the zoom.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from resvg_py import svg_to_bytes

#: The kernel kills this process first: a picture is soon made again.
_OOM_SCORE_ADJ = "1000"

if __name__ == "__main__":
    font, zoom = sys.argv[1:]
    with contextlib.suppress(OSError):  # not on every kernel
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ, encoding="ascii")
    svg = sys.stdin.buffer.read().decode()
    png = svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=[font], zoom=float(zoom))
    sys.stdout.buffer.write(png)
