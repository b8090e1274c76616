"""Damage to a file: single flipped bits, and writes that a power cut or a crash tore."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

#: Bytes that a disk writes at once.
SECTOR = 512


class Effect(StrEnum):
    """The effect of damage on a reader."""

    HARMLESS = "harmless"
    DETECTED = "detected"


@dataclass(frozen=True)
class Kind:
    """A kind of file: a sound one, another sound one, and how it is read.

    `other` is empty if such a file is never torn.

    Each of `reads` returns what one reader makes of the bytes. It raises one of `refusals` if it detects damage.
    """

    name: str
    content: bytes
    other: bytes
    reads: Sequence[Callable[[bytes], object]]
    refusals: tuple[type[Exception], ...]
    flips: Counter[Effect] = field(default_factory=Counter)
    torn: Counter[Effect] = field(default_factory=Counter)

    @cached_property
    def _sound(self) -> list[list[object]]:
        """For each reader, what it makes of the sound files."""
        return [[read(sound) for sound in (self.content, self.other) if sound] for read in self.reads]

    def flip(self, seed: int, count: int) -> None:
        """Flip bits, one at a time, and count effects. Raises AssertionError for a wrong value."""
        chance = random.Random(f"{self.name} {seed}")
        for _ in range(count):
            bit = chance.randrange(8 * len(self.content))
            damaged = bytearray(self.content)
            damaged[bit // 8] ^= 1 << bit % 8
            self.flips[self.effect(bytes(damaged), f"bit {bit} flipped")] += 1

    def tear(self) -> None:
        """Tear the file at each sector, in four ways, and count the effects."""
        for what, damaged in torn_versions(self.content, self.other) if self.other else ():
            self.torn[self.effect(damaged, what)] += 1

    def effect(self, damaged: bytes, what: str) -> Effect:
        """Return the effect of damage. Raises AssertionError for a wrong value."""
        effect = Effect.HARMLESS
        for number, (read, sound) in enumerate(zip(self.reads, self._sound, strict=True)):
            try:
                found = read(damaged)
            except self.refusals:
                effect = Effect.DETECTED
                continue
            assert found in sound, f"{self.name}, {what}: reader {number} found {found!r:.500}"
        return effect


def torn_versions(content: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file truncated, zero-filled and mixed with another version at each sector."""
    ends = sorted(
        {*range(0, len(content), SECTOR), *range(0, len(content), -(-len(content) // 7)), len(content) - 1}
    )
    for end in ends:
        yield f"truncated at {end}", content[:end]
        yield f"zeros from {end}", content[:end] + bytes(len(content) - end)
        yield (
            f"zeros from {end} for a sector",
            content[:end] + bytes(SECTOR)[: len(content) - end] + content[end + SECTOR :],
        )
        yield f"the other version from {end}", content[:end] + other[end:]
