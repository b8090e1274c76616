"""The linter for English finds what the style replaces, in every kind of file, and accepts reasoned exceptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.prose.__main__ import main
from ops.prose.check import check
from ops.prose.rules import RULES

#: Wordings that the rules are for, by rule; each is found once.
FORBIDDEN = {
    "for ever": ["# waits for ever"],
    "in vain": ['raise ValueError("tried in vain")'],
    "at hand": ["# the values at hand"],
    "such a one": ["# such a one is kept"],
    "beforehand": ["# checked beforehand"],
    "whoever": ["# whoever asks", "# whomever it is for"],
    "whatever": ["# whatever it is"],
    "let go of": ["# lets go of the buffer", "# holds Python's lock"],
    "none that": ["# a cursor is none that a list gave", "# blanks are none"],
    "takes and gives": ["# takes and gives objects"],
    "old adverb": ["# whence it came"],
    "be had": ["# no memory could be had", "# sockets have what the listener has"],
    "next tick": ["# waits for the next tick"],
    "what clause": ["# What is left is kept.", "# It ends. Who waits is told."],
    "who clause": ["# takes the lock from who only computes"],
    "stand-in": ["# a stand-in", "make_standins()", "stand_in = 1"],
    "beacon": ["beacons = 1", "class Beacon: pass"],
    "wish": ["recycle_wish = 1", "class RecycleWish: pass", "wish = 1"],
    "direct lane": ["# the direct lane", "# by direct-run"],
    "elsewhere": ["# runs elsewhere"],
    "leash": ["import leash"],
    "weightiest": ["weightiest = 1"],
    "digest": ["batch_digest = 1", "# a job's digest", "digest_bytes = 1"],
    "intake": ["class Intake: pass"],
    "envelope": ["envelope = 1"],
    "ending": ["class Endings: pass", "# the ending of a job"],
    "life": ["# a worker's life", "# the life before", "# no worker lives"],
    "lit": ["# it is lit", "# puts out the light"],
    "room": ["storage_room = 1"],
}
#: Sentences that resemble forbidden ones.
ALLOWED = [
    "# says what it does and who did it",
    "# What happens when Redis dies?",
    "if value is None: pass",
    "# is none of the three",
    "# the SHA-256 digest of a file",
    "hmac.compare_digest(key, given)",
    "# a line ending in a newline",
    "# the lock lives under DATA_DIR",
    "# split literals",
]


def test_finds_each_wording_and_name_and_accepts_what_resembles_them() -> None:
    for rule, lines in FORBIDDEN.items():
        for line in lines:
            [(number, message)] = check(Path("module.py"), f'"""A module."""\n{line}\n')
            assert number == 2
            assert f"({rule}): " in message
    assert {rule.name for rule in RULES} == FORBIDDEN.keys()
    for line in ALLOWED:
        assert check(Path("module.py"), f"{line}\n") == []


@pytest.mark.parametrize("mark", ["#", "//", " *", "--", "", ">", "-"])
def test_reads_across_the_lines_of_a_comment(mark: str) -> None:
    found = check(Path("a.md"), f"{mark} They wait for\n{mark} ever.\n")
    assert found == [(1, '"for ever" (for ever): forever')]


def test_an_exception_holds_for_its_line_and_the_next_and_needs_a_reason() -> None:
    text = '# prose: allow "beacon": part of stored keys\nKEY = "beacon"\nother = "beacon"\n'
    assert [line for line, _ in check(Path("a.py"), text)] == [3]
    assert check(Path("a.py"), 'KEY = "beacon"  # prose: allow "beacon": part of stored keys\n') == []
    [(_, message)] = check(Path("a.py"), 'KEY = "beacon"  # prose: allow "beacon"\n')
    assert "states no reason" in message
    [(_, message)] = check(Path("a.py"), 'KEY = "lamp"  # prose: allow "beacon": part of stored keys\n')
    assert "not needed" in message


def test_measures_the_first_line_of_docstrings() -> None:
    text = f'def long() -> None:\n    """{"a" * 90}"""\n\n\ndef short() -> None:\n    """{"a" * 89}\n\n    {"b" * 95}\n    """\n'
    [(line, message)] = check(Path("a.py"), text)
    assert line == 2
    assert "90 characters" in message


def test_the_command_prints_places_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Fine.\nThey wait for ever.\n", encoding="utf-8")
    assert main([str(page)]) == 1
    assert f"{page}:2: " in capsys.readouterr().out
    page.write_text("Fine.\n", encoding="utf-8")
    assert main([str(page)]) == 0
    assert main([str(tmp_path / "picture.png")]) == 0
