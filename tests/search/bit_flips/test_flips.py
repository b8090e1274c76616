"""Some flipped bits and torn writes of each kind of file. `python -m tests.search.bit_flips` tries many."""

from __future__ import annotations

from pathlib import Path

from tests.search.bit_flips.kinds import all_kinds

#: Bits that are flipped in each kind of file.
FLIPS = 60


def test_a_flipped_bit_or_a_torn_write_is_detected_or_harmless(tmp_path: Path) -> None:
    for kind in all_kinds(tmp_path):
        kind.flip(seed=1, count=FLIPS)
        kind.tear()
        assert kind.flips.total() == FLIPS
