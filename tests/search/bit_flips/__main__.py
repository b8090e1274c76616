"""`python -m tests.search.bit_flips [SEED]`: flips FLIPS (2000) bits in each kind of file.

It also tears each file, and prints a table.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.search.bit_flips.damage import Effect
from tests.search.bit_flips.kinds import all_kinds
from tests.search.bit_flips.redis_file import RedisFile

#: Bits that are flipped in each kind of file.
FLIPS = 2000


def main(seed: int = 1) -> int:
    logging.disable(logging.CRITICAL)
    count = int(os.environ.get("FLIPS") or FLIPS)
    say(
        f"{'kind':22} {'bytes':>7} {'flips':>6} {'detected':>9} {'harmless':>9} {'torn':>6} {'detected':>9} {'harmless':>9}"
    )
    with tempfile.TemporaryDirectory(prefix="shapbox-flips-") as folder:
        for kind in (*all_kinds(Path(folder)), RedisFile(Path(folder))):
            kind.flip(seed, count)
            kind.tear()
            numbers = (*_counts(kind.flips), *_counts(kind.torn))
            say(
                f"{kind.name:22} {len(kind.content):>7} {numbers[0]:>6} {numbers[1]:>9} {numbers[2]:>9} "
                f"{numbers[3]:>6} {numbers[4]:>9} {numbers[5]:>9}"
            )
    return 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _counts(effects: Counter[Effect]) -> tuple[int, int, int]:
    return effects.total(), effects[Effect.DETECTED], effects[Effect.HARMLESS]


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
