"""The font of plots that are rendered as PNG."""

from __future__ import annotations

from pathlib import Path

#: Debian's package, the file in it, and where fonts are installed.
PACKAGE = "fonts-dejavu-core"
FILE = "DejaVuSans.ttf"
FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))


def find_font(folders: tuple[Path, ...] = FOLDERS) -> Path | None:
    """Return the font's file, if it is installed."""
    return next((path for folder in folders for path in sorted(folder.rglob(FILE))), None)
