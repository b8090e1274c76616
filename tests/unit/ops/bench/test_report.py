from pathlib import Path

import pytest

from ops.lab.bench.__main__ import PARTS
from ops.lab.bench.report import PAGE, BenchError, Report, write

BLOCK = "<!-- bench {0} -->\n{1}\n<!-- end of bench {0} -->\n"
REPORT = Report(["model", "µs"], [["a, b", "1"]], [["rows/s", "7", "peer 5"]], "Nothing.", [])


def test_figures_are_put_in_their_places_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    summary = "| part | measured | Shapbox | others |\n|---|---|---|---|\n| [a](#a) | old | 1 | |\n| [b](#b) | kept | 2 | |"
    page.write_text(
        BLOCK.format("summary", summary) + "by hand\n" + BLOCK.format("a", "old") + BLOCK.format("b", "kept")
    )
    write(page, "a", "2026-11-30, some CPU.", REPORT)
    text = page.read_text()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[3:5]] == [
        ["[a](#a)", "rows/s", "7", "peer 5"],
        ["[b](#b)", "kept", "2", ""],
    ]
    assert "by hand\n" in text
    figures = "2026-11-30, some CPU. All figures: [a.csv](page/a.csv).\n\nNothing."
    assert BLOCK.format("a", figures) + BLOCK.format("b", "kept") in text
    assert (tmp_path / "page" / "a.csv").read_text() == 'model,µs\n"a, b",1\n'


def test_a_part_without_a_place_is_refused_and_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BLOCK.format("summary", "| part |\n|---|"))
    with pytest.raises(BenchError, match="0 places for a"):
        write(page, "a", "", REPORT)
    assert page.read_text() == BLOCK.format("summary", "| part |\n|---|")


def test_the_benchmarks_page_has_a_place_for_each_part_and_the_summary_links_to_it(tmp_path: Path) -> None:
    copy = tmp_path / "benchmarks.md"
    for name in PARTS:
        copy.write_text(PAGE.read_text())
        write(copy, name, "", REPORT)
        assert f"| [{name}](#{name})" in copy.read_text()
