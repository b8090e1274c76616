"""Each fuzz target on its kept inputs: seeds, and those that once showed a fault."""

from __future__ import annotations

import logging

import pytest

from tests.search.fuzz.targets import CORPUS, TARGETS, kept_inputs


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_a_documented_refusal_leaves_a_reader(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    inputs = kept_inputs(target)
    assert inputs
    for path in inputs:
        content = path.read_bytes()
        # Cut off and with one byte changed, each kept input is several.
        for place in range(0, len(content), max(1, len(content) // 23)):
            TARGETS[target](content[:place])
            TARGETS[target](content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        TARGETS[target](content)


def test_every_folder_of_inputs_has_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
