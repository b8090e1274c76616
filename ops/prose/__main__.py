"""`python -m ops.prose [FILE …]`: check the English of these files, or of all that Git knows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ops.prose.check import check

#: Suffixes of files whose text people read. Also Dockerfile and Makefile.
SUFFIXES = {
    ".py",
    ".js",
    ".css",
    ".html",
    ".c",
    ".h",
    ".lua",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".conf",
    ".json",
}
NAMES = {"Dockerfile", "Makefile"}
#: Folders that are not ours to word: the linter's own words, models, dependencies of other programs.
EXCLUDED = ("ops/prose/", "tests/unit/ops/prose/", "models/", "ops/lab/bench/peers/")


def main(arguments: Sequence[str]) -> int:
    """Print the findings; return 1 if there are any."""
    count = 0
    for path in [Path(argument) for argument in arguments] or _known_files():
        if not _is_checked(path):
            continue
        for finding in check(path, path.read_text(encoding="utf-8")):
            print(f"{path}:{finding.line}: {finding.message}")
            count += 1
    if count:
        print(f'prose: {count} findings. An exception is a comment: prose: allow "NAME": REASON')
    return 1 if count else 0


def _is_checked(path: Path) -> bool:
    own_name = path.as_posix().startswith(EXCLUDED)
    return not own_name and (path.suffix in SUFFIXES or path.name in NAMES) and path.is_file()


def _known_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listed.splitlines()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
