"""Every view at several widths and in both themes: nothing overflows, all text is readable."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from ops.console_visit import Visit
from ops.lab.trial_appliance import Appliance
from tests.console.conftest import OpenConsole

#: The lowest contrast that WCAG AA allows for text, and for large text.
LEAST, LEAST_LARGE = 4.5, 3.0

#: Returns [text, ratio, large] for all visible, enabled text outside of plots.
CONTRASTS = """() => {
  const painter = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const pixel = (colours) => {
    painter.clearRect(0, 0, 1, 1);
    for (const colour of colours) { painter.fillStyle = colour; painter.fillRect(0, 0, 1, 1); }
    return [...painter.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("svg, .unseen, :disabled, option, noscript")) continue;
    const style = getComputedStyle(element);
    const papers = [];
    for (let one = element; one; one = one.parentElement) papers.unshift(getComputedStyle(one).backgroundColor);
    const behind = pixel(papers), ink = pixel([...papers, style.color]);
    const [bright, dark] = [light(behind), light(ink)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    found.push([text.slice(0, 40), (bright + 0.05) / (dark + 0.05), size >= 24 || (size >= 18.66 && style.fontWeight >= 700)]);
  }
  return found;
}"""


#: Returns the left and right edges of all labels below the memory ruler, from left to right.
RULER_LABELS = """() => [...document.querySelectorAll(".scale small")]
  .map((label) => label.getBoundingClientRect())
  .map(({ left, right }) => [left, right])
  .sort(([one], [other]) => one - other)"""


def look(visit: Visit) -> None:
    """Check that nothing overflows, and that all text has enough contrast."""
    assert visit.overflow() == 0
    found = visit.page.evaluate(CONTRASTS)
    assert len(found) > 8
    least = {True: LEAST_LARGE, False: LEAST}
    assert [(text, round(ratio, 2)) for text, ratio, large in found if ratio < least[large]] == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark")])
def test_no_view_is_wider_than_its_window_and_all_text_has_enough_contrast(
    open_console: OpenConsole, appliance: Appliance, tmp_path: Path, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 740}
    visit = open_console(key=None, viewport=size, has_touch=True, color_scheme=scheme)
    look(visit)
    visit.sign_in("not-the-key")
    expect(visit.page.get_by_role("alert")).to_be_visible()
    look(visit)
    visit.sign_in(appliance.api_key)
    visit.at_home()
    visit.page.locator(".refused summary").click()
    look(visit)
    bad = tmp_path / "bad.csv"
    bad.write_text("age,a-name-that-is-longer-than-a-phone-is-wide-and-has-no-place-to-break\n1,2\n")
    visit.choose_file(bad)
    visit.explain()
    expect(visit.page.get_by_role("alert")).to_be_visible()
    look(visit)
    visit.page.get_by_role("button", name="Other rows").click()
    visit.use_examples("diabetes@1")
    look(visit)
    visit.explain()
    visit.see_the_answer()
    look(visit)
    ink = "getComputedStyle(document.querySelector('svg.shapbox-plot text')).fill"
    assert visit.page.evaluate(ink) == visit.page.evaluate("getComputedStyle(document.body).color")
    assert visit.page.evaluate("getComputedStyle(document.querySelector('svg .paper')).fill") == "none"
    visit.page.get_by_role("button", name="Delete").click()
    look(visit)


def test_labels_of_the_memory_ruler_do_not_overlap(open_console: OpenConsole, appliance: Appliance) -> None:
    visit = open_console(key=None)
    megabytes: list[int | None] = [None]

    def with_other_limit(route: Route) -> None:
        document = route.fetch().json()
        limit = None if megabytes[0] is None else megabytes[0] << 20
        recycle_at = document["memory"]["recycle_at_bytes"] if limit is None else limit - (37 << 20)
        document["memory"] |= {"container_limit_bytes": limit, "recycle_at_bytes": recycle_at}
        route.fulfill(json=document)

    visit.page.route("**/v1/appliance", with_other_limit)
    visit.sign_in(appliance.api_key)
    visit.at_home()
    for megabytes[0] in (None, 300, 4096):
        shown = f"limit {megabytes[0]}" if megabytes[0] else "512"
        expect(visit.page.locator(".scale .limit")).to_have_text(shown)
        for width in (360, 704, 768, 1280):
            visit.page.set_viewport_size({"width": width, "height": 900})
            labels = visit.page.evaluate(RULER_LABELS)
            assert len(labels) == 3
            for (_, right), (left, _) in itertools.pairwise(labels):
                assert right < left
    visit.page.unroute_all(behavior="ignoreErrors")


def test_the_theme_follows_the_system_and_can_be_chosen(open_console: OpenConsole) -> None:
    visit = open_console(key=None, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = visit.page.evaluate(paper)
    button = visit.page.locator("#theme")
    button.click()
    expect(button).to_have_text("Light")
    light = visit.page.evaluate(paper)
    assert light != dark
    button.click()
    assert visit.page.evaluate(paper) == dark
    visit.page.emulate_media(color_scheme="light")
    assert visit.page.evaluate(paper) == dark
    button.click()
    assert visit.page.evaluate(paper) == light


def test_reduced_motion_is_respected(console: Visit) -> None:
    for motion, seconds in (("no-preference", "0.6s"), ("reduce", "0s")):
        console.page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]  # one of its literals
        bar = "getComputedStyle(document.querySelector('.ruler i')).transitionDuration"
        assert console.page.evaluate(bar) == seconds
