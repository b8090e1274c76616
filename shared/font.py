"""The font that pictures are written with, where they are written as PNG."""

from __future__ import annotations

from pathlib import Path

#: Debian's package, the file in it that is used, and where such files lie on Debian and elsewhere.
PACKAGE = "fonts-dejavu-core"
FILE = "DejaVuSans.ttf"
FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))


def find_font(folders: tuple[Path, ...] = FOLDERS) -> Path | None:
    """Return the font's file, if the machine has it."""
    return next((path for folder in folders for path in sorted(folder.rglob(FILE))), None)
