"""`python -m ops.boot.make_standins MODELS_DIR STANDINS_DIR [NAME]`: stand-ins for what is broken or missing.

A process of its own, since this imports xgboost, which supervisord must not carry along.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.errors import ShapboxError
from shared.models.catalog import find_faults
from shared.models.placeholder import write_standin, write_standins
from shared.models.version import version_folders

#: What a stand-in is called where nothing says what should have been there.
NAMELESS = "fallback"


def main(models_dir: Path, standins_dir: Path, wanted: str | None) -> int:
    """Write the stand-ins; `wanted` is a model that has to exist afterwards. Return the exit code."""
    try:
        made = write_standins(models_dir, standins_dir, find_faults(models_dir))
        names = {folder.parent.name for folder in version_folders(models_dir)} | {one.name for one in made}
        name, _, version = (wanted or "").partition("@")
        if name and name not in names:
            write_standin(models_dir, standins_dir, name, int(version or 1))
        elif not names:
            write_standin(models_dir, standins_dir, NAMELESS, 1)
    except (ShapboxError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
