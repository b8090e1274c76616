"""`python -m ops.prose [FILE …]`: check the English of these files, or of all that Git knows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ops.prose.check import check

#: Names of files whose text people read.
READ = re.compile(r".+\.(?:py|js|css|html|c|h|lua|md|ya?ml|toml|conf|json)|Dockerfile|Makefile")
#: Folders that are not ours to word: the linter's own words, models, dependencies of other programs.
EXCLUDED = ("ops/prose/", "tests/unit/ops/prose/", "models/", "ops/lab/bench/peers/")


def main(arguments: Sequence[str]) -> int:
    """Print the findings; return 1 if there are any."""
    count = 0
    for path in map(Path, arguments or _known_files()):
        if not READ.fullmatch(path.name) or path.as_posix().startswith(EXCLUDED) or not path.is_file():
            continue
        for line, message in check(path, path.read_text(encoding="utf-8")):
            print(f"{path}:{line}: {message}")
            count += 1
    if count:
        print(f'prose: {count} findings. An exception is a comment: prose: allow "NAME": REASON')
    return 1 if count else 0


def _known_files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
