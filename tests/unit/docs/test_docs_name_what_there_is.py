import re
import tomllib
from pathlib import Path

from shared.build import VERSION
from shared.settings import SETTING_NAMES, Settings

ROOT = Path(__file__).parents[3]


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]


def test_the_table_of_settings_has_all_with_the_codes_defaults() -> None:
    page = (ROOT / "docs" / "configure.md").read_text()
    table = page.partition("## Settings")[2].partition("## Connections")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == set(SETTING_NAMES)
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", page, re.MULTILINE))
    assert defaults
    for name, value in defaults.items():
        assert float(value) == float(getattr(Settings(), name.lower())), name


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


def test_links_between_pages_and_named_files_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", text):
            other = page.parent / target if target else page
            assert other.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors_of(other), f"{page.name} links to {target}#{anchor}"
        for path in re.findall(r"`((?:services|shared|ops|tests|models)/[\w/.-]+)`", text):
            assert (ROOT / path).exists(), f"{page.name} names {path}"


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


#: Pages that are not about one task: the reference of the API, and how it is built and why.
LONG = {"api.md", "architecture.md", "decisions.md", "methods.md", "client.md"}


def test_pages_about_a_task_are_short() -> None:
    for page in {*(ROOT / "docs").glob("*.md")}:
        assert page.name in LONG or page.read_text().count("\n") < 200, page.name


def test_decisions_are_numbered_in_order_and_dated() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "decisions.md").read_text(), re.MULTILINE)

    for number, heading in enumerate(headings, 1):
        assert re.fullmatch(rf"{number}\. .+ \(20\d\d-[01]\d\)", heading), heading


def test_the_ways_of_a_row_and_of_a_batch_are_short() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    lists = architecture.partition("<!-- path lists: begin -->")[2].partition("<!-- path lists: end -->")[0]
    row = re.findall(r"^\d+\. `([^`]+)`", lists, re.MULTILINE)
    named = set(re.findall(r"`((?:services|shared)/[^`]+\.py)`", lists))
    assert 0 < len(row) <= 14
    assert len(row) < len(named)


def test_pictures_exist_and_are_small() -> None:
    pattern = re.compile(r'(?:src|srcset)="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)')
    shown = {
        page.parent / (html or markdown)
        for page in PAGES
        for html, markdown in pattern.findall(page.read_text())
    }
    assert len(shown) >= 4
    for picture in {*shown, *(ROOT / "docs" / "images").iterdir()}:
        assert picture.stat().st_size < 300_000, picture
