"""`python -m tests.search.fuzz.replay TARGET FOLDER…`: runs a target on each file."""

import os
import sys
from pathlib import Path

from tests.search.fuzz import model_targets
from tests.search.fuzz.targets import TARGETS


def main(target: str, *folders: str) -> None:
    if kernels := os.environ.get("SHAPBOX_FUZZ_KERNELS"):
        model_targets.library_path = Path(kernels)
    paths = [path for folder in folders for path in sorted(Path(folder).iterdir())]
    for path in paths:
        sys.stderr.write(f"{path}\n")
        TARGETS[target](path.read_bytes())
    sys.stdout.write(f"{len(paths)} inputs\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
