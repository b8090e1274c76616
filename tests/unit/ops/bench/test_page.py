from pathlib import Path

import pytest

from ops.lab.bench.page import PAGE, PageError, insert
from ops.lab.bench.parts import PARTS


def test_a_part_is_put_between_its_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "by hand\n<!-- bench a -->\nold\n<!-- end of bench a -->\n<!-- bench b -->\nkept\n<!-- end of bench b -->\n"
    )
    insert(page, "a", r"new \1")
    wanted = "by hand\n<!-- bench a -->\nnew \\1\n<!-- end of bench a -->\n<!-- bench b -->\nkept\n<!-- end of bench b -->\n"
    assert page.read_text() == wanted


def test_a_part_without_a_place_is_refused_and_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("by hand\n")
    with pytest.raises(PageError, match="0 places for a"):
        insert(page, "a", "new")
    assert page.read_text() == "by hand\n"


@pytest.mark.parametrize("name", PARTS)
def test_the_benchmarks_page_has_one_place_for_each_part(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text())
    insert(copy, name, "figures")
    assert f"<!-- bench {name} -->\nfigures\n" in copy.read_text()
