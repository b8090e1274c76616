"""Writes placeholder models: `make_placeholders MODELS_DIR PLACEHOLDERS_DIR [NAME]`.

A process of its own: this imports xgboost, which must not stay in the memory of the boot process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.errors import ShapboxError
from shared.models.catalog import find_faults
from shared.models.placeholder import write_placeholder, write_placeholders
from shared.models.version import version_folders

#: The name of a placeholder where no model is known.
NAMELESS = "fallback"


def main(models_dir: Path, placeholders_dir: Path, wanted: str | None) -> int:
    """Write the placeholders, also one for `wanted` if that is missing. Return the exit code."""
    try:
        made = write_placeholders(models_dir, placeholders_dir, find_faults(models_dir))
        names = {folder.parent.name for folder in version_folders(models_dir)} | {one.name for one in made}
        name, _, version = (wanted or "").partition("@")
        if name and name not in names:
            write_placeholder(models_dir, placeholders_dir, name, int(version or 1))
        elif not names:
            write_placeholder(models_dir, placeholders_dir, NAMELESS, 1)
    except (ShapboxError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
