"""`python -m services.api.plots.png_writer FONT`: reads SVG from standard input, writes PNG to standard output."""

from __future__ import annotations

import sys

from resvg_py import svg_to_bytes

#: Pixels for each of the SVG's.
ZOOM = 2.0


def main(font: str) -> None:
    """Write one picture. A fault ends the process with its traceback and code 1."""
    svg = sys.stdin.buffer.read().decode()
    sys.stdout.buffer.write(
        svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=[font], zoom=ZOOM)
    )


if __name__ == "__main__":
    main(sys.argv[1])
