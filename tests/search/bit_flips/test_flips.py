"""Some flipped bits and torn writes of each kind of file; __main__ tries many."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.search.bit_flips.damage import Effect
from tests.search.bit_flips.kinds import all_kinds
from tests.search.bit_flips.redis_file import RedisFile

#: Bits that are flipped in each kind of file.
FLIPS = 60


def test_a_flipped_bit_or_a_torn_write_is_detected_or_harmless(tmp_path: Path) -> None:
    for kind in all_kinds(tmp_path):
        kind.flip(seed=1, count=FLIPS)
        kind.tear()
        assert kind.flips.total() == FLIPS


def test_damage_to_redis_file_is_mended_refused_or_seen_by_the_store() -> None:
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:  # short enough for a unix socket
        file = RedisFile(Path(folder))
        file.flip(seed=1, count=3)
        broken = file.content.find(b"\r\n$", len(file.content) // 3)
        damaged = file.content[: broken + 2] + b"\xa4" + file.content[broken + 3 :]  # no UTF-8, in the middle
        assert file.effect(damaged, "a word without its head") is Effect.DETECTED
