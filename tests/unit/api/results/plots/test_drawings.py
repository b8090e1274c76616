import itertools
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from services.api.results.plots.axes import Scale
from services.api.results.plots.bar import draw_bar
from services.api.results.plots.beeswarm import BeeswarmFigures, draw_beeswarm
from services.api.results.plots.colours import MISSING, STEPS, shades
from services.api.results.plots.dependence import DependenceFigures, draw_dependence
from services.api.results.plots.lines import Ranking
from services.api.results.plots.numbers import plain, signed, value_text
from services.api.results.plots.svg import Drawing
from services.api.results.plots.waterfall import WaterfallFigures, draw_waterfall
from shared.models.contract import Feature, Kind

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script>alert(1)</script> & "quotes" \x00\x1b and a name of very many letters'
MINUS = "\N{MINUS SIGN}"

type Floats = NDArray[np.float32]


def drawn(features: Floats, values: Floats, names: list[str]) -> list[Drawing]:
    mean_abs = np.abs(values.astype(np.float64)).mean(axis=0)
    columns = [Feature(name) for name in names]
    ranking = Ranking.by(mean_abs, 3)
    return [
        draw_bar(ranking.labels(names), ranking.gather(mean_abs), "m@1"),
        draw_beeswarm(BeeswarmFigures.of(features, values, mean_abs, names, 3), "m@1"),
        draw_waterfall(WaterfallFigures.of(features[0], values[0], 0.5, columns, 3), "m@1"),
        draw_dependence(DependenceFigures.of(0, features, values, columns), "m@1"),
    ]


def root_of(drawing: Drawing) -> ET.Element:
    return ET.fromstring(drawing.svg().decode())


def texts_of(drawing: Drawing) -> list[str]:
    return ["".join(text.itertext()) for text in root_of(drawing).iter(f"{SVG}text")]


def test_every_drawing_is_complete_inside_its_bounds_and_the_same_again() -> None:
    many = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    zeros = np.zeros((4, 5), np.float32)
    for case, features, values in (
        ("many rows", many, many * np.float32(0.3)),
        ("one row", many[:1], many[:1]),
        ("zeros of a placeholder model", many, np.zeros_like(many)),
        ("all values missing", np.full_like(zeros, np.nan), many[:4]),
        ("all the same", zeros, zeros + 1),
        ("huge values", zeros + np.float32(3e38), many[:4] * np.float32(1e30)),
        ("tiny values", zeros + np.float32(1e-40), many[:4] * np.float32(1e-30)),
    ):
        for drawing, again in zip(*(drawn(features, values, list("abcde")) for _ in "12"), strict=True):
            picture = drawing.svg().decode()
            assert picture == again.svg().decode()
            assert "nan" not in picture.replace("name", ""), case
            assert "inf" not in picture, case
            root = root_of(drawing)
            for text in root.iter(f"{SVG}text"):
                for place, size in (("x", "width"), ("y", "height")):
                    assert -1 <= float(text.get(place, "")) <= float(root.get(size, "")), case


def test_names_cannot_break_out_of_the_picture_which_has_no_style_or_script() -> None:
    features = values = np.ones((2, 3), np.float32)
    for drawing in drawn(features, values, [NASTY, "b", "c"]):
        root = root_of(drawing)
        names = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert names <= {"svg", "rect", "path", "text", "title", "tspan"}
        assert "<script>alert" in "".join(root.itertext())
        assert (root.get("class"), root.get("role")) == ("shapbox-plot", "img")
        assert "m@1" in root.get("aria-label", "")
        assert root[0].get("class") == "paper"  # it uses the page's colours
        assert not any({"style", "href", "onload"} & set(element.keys()) for element in root.iter())


def test_numbers_are_short_and_precise_enough() -> None:
    texts = {
        0.0: "0",
        1.0: "1",
        100.0: "100",
        0.0123456: "0.012",
        1234567.8: "1234567.8",
        -17.8123: f"{MINUS}17.81",
        -0.00004: f"{MINUS}0.00004",
        -2e-9: f"{MINUS}2.00e{MINUS}09",
        3e38: "3.00e+38",
    }
    assert {value: plain(value) for value in texts} == texts
    assert [plain(-0.0), plain(float("nan"))] == ["0", "missing"]
    assert [signed(value) for value in (1.5, -1.5, 0.0)] == ["+1.5", f"{MINUS}1.5", "+0"]


def test_ticks_are_few_round_numbers_with_distinct_texts() -> None:
    for least, most, first in (
        (-0.4, 0.6, f"{MINUS}0.4"),
        (1000.001, 1000.009, "1000.002"),
        (0.0, 1e-9, "0"),
        (20260101, 20261231, "20260250"),
        (1.0, 1.0000001, "1.00000002"),
        (1e16, 1.001e16, "1.00020e+16"),
        *((least, most, "") for least, most in ((1e-9, 3e-9), (5, 5), (0, 0), (-3e38, 3e38))),
    ):
        scale = Scale.around(least, most, 0, 500)
        ticks, labels = list(scale.ticks()), list(scale.ticks().values())
        assert 2 <= len(ticks) <= 12
        assert all(scale.least <= tick <= scale.most for tick in ticks)
        assert np.ptp(np.diff(ticks)) <= 1e-9 * max(abs(scale.least), abs(scale.most))
        assert len(set(labels)) == len(labels)
        assert not first or first in labels


def test_shades_trim_outer_values_and_mark_missing_ones() -> None:
    values = np.array([*range(100), np.nan, 1e9])
    assert shades(values)[[0, 3, 99, 100, -1]].tolist() == [0, 0, STEPS - 1, MISSING, STEPS - 1]
    assert (shades(np.full(5, np.nan)) == MISSING).all()
    assert len(set(shades(np.full(5, 3.0)).tolist())) == 1


# --- Categories are shown by their labels ---

HOME = Feature("home", Kind.CATEGORY, ("own", "rent", "with parents and five brothers", NASTY))
REGION = Feature("region", Kind.CATEGORY, (10, 20, 30, 40))
CODES = Feature("codes", Kind.CATEGORY)


def test_the_waterfall_shows_labels_and_cuts_long_ones_that_are_whole_in_a_tooltip() -> None:
    assert [value_text(HOME, code) for code in (0.0, 4.0, np.nan)] == ["own", "code 4", "missing"]
    features = np.array([1, 2, 5, np.nan, 2.5, 2], np.float32)
    columns = [HOME, REGION, CODES, Feature("home now", Kind.CATEGORY, ("own",)), Feature("age"), HOME]
    values = np.array([6, 5, 4, 3, 2, 1], np.float32)
    figures = WaterfallFigures.of(features, values, 0.0, columns, 10)
    drawing = draw_waterfall(figures, "m@1")
    shown = [step.text for step in figures.steps][:5]
    assert shown == ["rent = home", "30 = region", "code 5 = codes", "missing = home now", "2.5 = age"]
    assert {"rent = home", "30 = region", "code 5 = codes"} <= set(texts_of(drawing))
    picture = drawing.svg().decode()
    assert ">with parents … = </tspan>home<" in picture
    assert "<title>with parents and five brothers = home: +1</title>" in picture


def test_the_dependence_plot_of_a_category_shows_labels_also_at_its_colours() -> None:
    features = np.array([[0, 1], [0, 2], [1, 2], [3, 2], [np.nan, 1]], np.float32)
    values = np.nan_to_num(features + np.float32(0.5))
    texts = texts_of(draw_dependence(DependenceFigures.of(0, features, values, [HOME, REGION]), "m@1"))
    assert {"own", "rent", "home"} <= set(texts)
    assert not {"0", "1", "2", "3"} & set(texts[: texts.index("home")])

    features = np.stack([np.arange(200) // 50, np.random.default_rng(3).integers(0, 4, 200)], axis=1)
    values = np.stack([features[:, 1] * 2, np.zeros(200)], axis=1).astype(np.float32)
    figures = DependenceFigures.of(0, features.astype(np.float32), values, [Feature("age"), REGION])
    assert figures.other == REGION
    assert {"10", "40"} <= set(texts_of(draw_dependence(figures, "m@1")))


@pytest.mark.parametrize("count", [1, 2, 30, 3000])
def test_only_labels_that_have_room_are_shown(count: int) -> None:
    many = Feature("town", Kind.CATEGORY, tuple(f"town number {place}" for place in range(count)))
    features = np.arange(count, dtype=np.float32)[:, None]
    drawing = draw_dependence(DependenceFigures.of(0, features, features, [many]), "m@1")

    ticks = [text for text in root_of(drawing).iter(f"{SVG}text") if "town " in "".join(text.itertext())]
    places = [float(text.get("x", "")) for text in ticks]
    assert 1 <= len(ticks) <= 13
    assert all(after - before > 40 for before, after in itertools.pairwise(places))
