"""The numbers of each plot equal those shap.plots passes to matplotlib, on real models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.api.results.plots.beeswarm import BeeswarmFigures, swarm_offsets
from services.api.results.plots.colours import GREY, MISSING, RAMP
from services.api.results.plots.dependence import DependenceFigures, strongest_interaction
from services.api.results.plots.lines import Ranking
from services.api.results.plots.waterfall import WaterfallFigures
from shared.build import ROOT
from shared.engines.xgboost_engine import XGBoostEngine
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature

#: shap and matplotlib cause warnings in each other.
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Explained:
    names: tuple[str, ...]
    features: NDArray[np.float32]
    values: NDArray[np.float32]
    base_value: float

    @property
    def mean_abs(self) -> NDArray[np.float64]:
        return np.abs(self.values.astype(np.float64)).mean(axis=0)

    @property
    def for_shap(self) -> Any:
        import shap

        base_values, data = np.full(len(self.values), self.base_value), self.features.astype(np.float64)
        return shap.Explanation(
            self.values.astype(np.float64), base_values, data, feature_names=list(self.names)
        )


@pytest.fixture(scope="module")
def explained() -> Explained:
    """Rows of a model with continuous and discrete features, some of them missing."""
    version = ModelCatalog.load(ROOT / "models").get("diabetes")
    assert version.examples_path is not None
    rows = np.load(version.examples_path).astype(np.float32)
    rows[np.random.default_rng(0).random(rows.shape) < 0.05] = np.nan
    results = XGBoostEngine.load(version).explain(rows)
    return Explained(version.features, rows, results.values[:, 0], float(results.base_values[0, 0]))


@pytest.fixture(scope="module")
def shap() -> Any:
    import shap

    return shap


@pytest.fixture
def axes() -> Iterator[Any]:
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


def assert_close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("max_display", [4, 100])
def test_bars_have_the_lengths_of_shaps(shap: Any, explained: Explained, axes: Any, max_display: int) -> None:
    ranking = Ranking.by(explained.mean_abs, max_display)
    ours, names = ranking.gather(explained.mean_abs), ranking.labels(explained.names)

    shap.plots.bar(explained.for_shap, max_display=max_display, ax=axes, show=False)

    lengths = [bar.get_width() for bar in axes.patches]
    assert_close(ours, lengths)
    labels = [label.get_text() for label in axes.get_yticklabels()][: len(names)]
    # In order, except for features of equal size, which may have any order.
    assert sorted(zip(ours.round(9), names, strict=True)) == sorted(
        zip(np.round(lengths, 9), labels, strict=True)
    )


@pytest.mark.parametrize("max_display", [3, 100])
def test_dots_of_the_beeswarm_have_shaps_positions_and_colours(
    shap: Any, explained: Explained, axes: Any, max_display: int
) -> None:
    figures = BeeswarmFigures.of(
        explained.features, explained.values, explained.mean_abs, explained.names, max_display
    )

    shap.plots.beeswarm(explained.for_shap, max_display=max_display, ax=axes, plot_size=None, show=False)

    dots = [np.asarray(some.get_offsets()) for some in axes.collections]
    lines = len(figures.labels)
    for line in range(lines):
        height = lines - 1 - line
        theirs = np.concatenate([some[np.abs(some[:, 1] - height) < 0.5] for some in dots])
        assert_close(np.sort(figures.values[:, line]), np.sort(theirs[:, 0]))
        ours = swarm_offsets(figures.values[:, line], np.arange(len(figures.values)))
        assert_close(np.sort(ours), np.sort(theirs[:, 1] - height))
    effective = int((explained.mean_abs > 0).sum())  # the others may have any order
    labels = [label.get_text() for label in axes.get_yticklabels()][::-1]
    assert figures.labels[:effective] == labels[:effective]
    if max_display == 100:
        axes.figure.canvas.draw()
        assert sum(compare_colours(figures, axes.collections, line) for line in range(effective)) > 1000


def compare_colours(figures: BeeswarmFigures, collections: Any, line: int) -> int:
    """Return how many dots of a line could be compared: those of different values."""
    ours = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (*RAMP, GREY)]) / 255
    # For each line, shap draws the dots of missing values, then the others.
    missing, others = collections[2 * (len(figures.labels) - 1 - line) :][:2]
    shade, there = figures.shades[:, line], figures.shades[:, line] != MISSING
    assert (~there).sum() == len(missing.get_offsets())
    places = [round(float(x), 9) for x, _ in others.get_offsets()]
    theirs = dict(zip(places, others.get_facecolors(), strict=True))
    if len(theirs) < len(places):
        return 0
    for value, own in zip(figures.values[there, line], shade[there], strict=True):
        # At most one of the 32 steps of the ramp apart.
        assert np.abs(ours[own] - theirs[round(float(value), 9)][:3]).max() < 0.12
    return len(places)


@pytest.mark.parametrize(("max_display", "row"), [(2, 0), (100, 17)])
def test_the_waterfall_has_shaps_steps(
    shap: Any, explained: Explained, axes: Any, max_display: int, row: int
) -> None:
    columns = [Feature(name) for name in explained.names]
    figures = WaterfallFigures.of(
        explained.features[row], explained.values[row], explained.base_value, columns, max_display
    )

    shap.plots.waterfall(explained.for_shap[row], max_display=max_display, show=False)

    own, *others = axes.figure.axes
    arrows = [patch for patch in own.patches if type(patch).__name__ == "FancyArrow"]
    lines = len(figures.steps)
    ours = sorted((lines - 1 - place, step.start) for place, step in enumerate(figures.steps))
    assert_close(ours, sorted(map(start_of, arrows)))
    # Each step ends where the one above begins, and the first ends at the margin.
    ends = [figures.margin, *(step.start for step in figures.steps[:-1])]
    assert_close([step.end for step in figures.steps], ends)
    assert figures.steps[-1].start == pytest.approx(figures.base_value, abs=1e-5)
    labels = [label.get_text() for label in own.get_yticklabels()][:lines]
    for step, label in zip(figures.steps, labels[::-1], strict=True):
        assert label.endswith(step.label)
        if step.given is not None and step.given != "missing":
            assert numbers_in(label)[0] == pytest.approx(numbers_in(step.given)[0], abs=5.1e-4)
    ticks = " ".join(label.get_text() for other in others for label in other.get_xticklabels())
    assert numbers_in(ticks) == pytest.approx([figures.base_value, figures.margin], abs=5.1e-4)


def start_of(arrow: Any) -> tuple[float, float]:
    """Return the line and start of an arrow, which may be shorter than its head."""
    corners = arrow.get_xy()
    across, height = corners[:, 0], (corners[:, 1].min() + corners[:, 1].max()) / 2
    tip = across[np.argmin(np.abs(corners[:, 1] - height))]
    return round(height), across[np.argmax(np.abs(across - tip))]


def numbers_in(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text.replace("\N{MINUS SIGN}", "-"))]


def test_the_dependence_plots_points_are_shaps(shap: Any, explained: Explained, axes: Any) -> None:
    columns = [Feature(name) for name in explained.names]
    feature = int(np.argmax(explained.mean_abs))
    figures = DependenceFigures.of(feature, explained.features, explained.values, columns)
    some = explained.for_shap
    shap.plots.scatter(some[:, feature], color=some, ax=axes, x_jitter=0, hist=False, show=False)

    points, gone = (np.asarray(group.get_offsets()) for group in axes.collections[:2])
    there = ~np.isnan(figures.x)
    ours = np.stack([figures.x[there], figures.values[there]], axis=1)
    assert_close(ours[np.lexsort(ours.T)], points[np.lexsort(points.T)])
    assert_close(np.sort(figures.values[~there]), np.sort(gone[:, 1]))


def test_the_other_feature_is_the_one_that_shap_finds(shap: Any, explained: Explained) -> None:
    # Rows of equal values could be cut into other runs, so all values differ here.
    noise = np.random.default_rng(1).normal(size=explained.features.shape) * 1e-3
    features = (np.nan_to_num(explained.features) + noise).astype(np.float32)
    gaps = np.random.default_rng(2).random(features.shape) < 0.02
    for feature in np.flatnonzero(explained.mean_abs).tolist():
        some = np.where(gaps & (np.arange(features.shape[1]) != feature), np.float32("nan"), features)
        theirs = shap.utils.approximate_interactions(
            feature, explained.values.astype(np.float64), some.astype(np.float64)
        )
        ours = strongest_interaction(feature, some, explained.values[:, feature])
        assert ours == theirs[0], explained.names[feature]
