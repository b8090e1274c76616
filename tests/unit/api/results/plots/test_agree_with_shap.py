"""The numbers of each plot equal those shap.plots passes to matplotlib, on real models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import shap
from matplotlib import pyplot as plt
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

mpl.use("Agg")

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
    def explanation(self) -> Any:
        return shap.Explanation(
            values=self.values.astype(np.float64),
            base_values=np.full(len(self.values), self.base_value),
            data=self.features.astype(np.float64),
            feature_names=list(self.names),
        )


@pytest.fixture(scope="module")
def explained() -> Explained:
    """Rows of a model with continuous and discrete features, some of them missing."""
    version = ModelCatalog.load(ROOT / "models").get("diabetes")
    assert version.examples_path is not None
    rows = np.load(version.examples_path).astype(np.float32)
    rows[np.random.default_rng(0).random(rows.shape) < 0.05] = np.nan
    results = XGBoostEngine.load(version).explain(rows)
    output = len(version.outputs) - 1
    return Explained(version.features, rows, results.values[:, output], float(results.base_values[0, output]))


def assert_close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.fixture
def axes() -> Iterator[Any]:
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


@pytest.mark.parametrize("max_display", [4, 100])
def test_bars_have_the_lengths_of_shaps(explained: Explained, axes: Any, max_display: int) -> None:
    ranking = Ranking.by(explained.mean_abs, max_display)
    ours, names = ranking.gather(explained.mean_abs), ranking.labels(explained.names)

    shap.plots.bar(explained.explanation, max_display=max_display, ax=axes, show=False)

    lengths = [bar.get_width() for bar in axes.patches]
    assert_close(ours, lengths)
    labels = [label.get_text() for label in axes.get_yticklabels()][: len(names)]
    # In order, except for features of equal size, which may have any order.
    assert [label for _, label in sorted(zip(ours.round(9), names, strict=True))] == [
        label for _, label in sorted(zip(np.round(lengths, 9), labels, strict=True))
    ]


@pytest.mark.parametrize("max_display", [3, 100])
def test_dots_of_the_beeswarm_have_shaps_positions(explained: Explained, axes: Any, max_display: int) -> None:
    figures = BeeswarmFigures.of(
        explained.features, explained.values, explained.mean_abs, explained.names, max_display
    )

    shap.plots.beeswarm(explained.explanation, max_display=max_display, ax=axes, plot_size=None, show=False)

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


def test_dots_of_the_beeswarm_have_shaps_colours(explained: Explained, axes: Any) -> None:
    figures = BeeswarmFigures.of(
        explained.features, explained.values, explained.mean_abs, explained.names, 100
    )

    shap.plots.beeswarm(explained.explanation, max_display=100, ax=axes, plot_size=None, show=False)

    axes.figure.canvas.draw()
    ours = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (*RAMP, GREY)]) / 255
    compared = 0
    for line in range(int((explained.mean_abs > 0).sum())):
        # For each line, shap draws the dots of missing values, then the others.
        missing, others = axes.collections[2 * (len(figures.labels) - 1 - line) :][:2]
        shade = figures.shades[:, line]
        assert (shade == MISSING).sum() == len(missing.get_offsets())
        theirs = {
            round(float(x), 9): colour
            for (x, _), colour in zip(others.get_offsets(), others.get_facecolors(), strict=True)
        }
        for value, own in zip(figures.values[:, line], shade, strict=True):
            if own != MISSING and len(theirs) == len(others.get_offsets()):
                # At most one of the 32 steps of the ramp apart.
                assert np.abs(ours[own] - theirs[round(float(value), 9)][:3]).max() < 0.12
                compared += 1
    assert compared


@pytest.mark.parametrize(("max_display", "row"), [(2, 0), (100, 17)])
def test_the_waterfall_has_shaps_steps(explained: Explained, max_display: int, row: int) -> None:
    plt.figure()
    columns = [Feature(name) for name in explained.names]
    figures = WaterfallFigures.of(
        explained.features[row], explained.values[row], explained.base_value, columns, max_display
    )

    shap.plots.waterfall(explained.explanation[row], max_display=max_display, show=False)

    axes = plt.gcf().axes[0]
    theirs = sorted(_start(patch) for patch in axes.patches if isinstance(patch, mpl.patches.FancyArrow))
    lines = len(figures.steps)
    ours = sorted((lines - 1 - place, step.start) for place, step in enumerate(figures.steps))
    assert_close(ours, theirs)
    # Each step ends where the one above begins, and the first ends at the margin.
    ends = [figures.margin, *(step.start for step in figures.steps[:-1])]
    assert_close([step.end for step in figures.steps], ends)
    assert figures.steps[-1].start == pytest.approx(figures.base_value, abs=1e-5)
    labels = [label.get_text() for label in axes.get_yticklabels()][:lines]
    for step, label in zip(figures.steps, labels[::-1], strict=True):
        assert label.endswith(step.label)
        if step.given is not None and step.given != "missing":
            shown, own = (
                text.partition(" = ")[0].replace("\N{MINUS SIGN}", "-") for text in (label, step.given)
            )
            assert float(shown) == pytest.approx(float(own), abs=5.1e-4)
    ticks = " ".join(label.get_text() for other in plt.gcf().axes[1:] for label in other.get_xticklabels())
    sums = [float(number) for number in re.findall(r"-?\d+\.?\d*", ticks.replace("\N{MINUS SIGN}", "-"))]
    assert sums == pytest.approx([figures.base_value, figures.margin], abs=5.1e-4)
    plt.close("all")


def _start(patch: Any) -> tuple[float, float]:
    """Return the line and start of an arrow, which may be shorter than its head."""
    corners = patch.get_xy()
    across, height = corners[:, 0], (corners[:, 1].min() + corners[:, 1].max()) / 2
    tip = across[np.argmin(np.abs(corners[:, 1] - height))]
    return round(height), across[np.argmax(np.abs(across - tip))]


def test_the_dependence_plots_points_and_colours_are_shaps(explained: Explained, axes: Any) -> None:
    columns = [Feature(name) for name in explained.names]
    for feature in np.argsort(-explained.mean_abs)[:2].tolist():
        axes.clear()
        figures = DependenceFigures.of(feature, explained.features, explained.values, columns)

        explanation = explained.explanation
        shap.plots.scatter(
            explanation[:, feature], color=explanation, ax=axes, x_jitter=0, hist=False, show=False
        )

        points = np.asarray(axes.collections[0].get_offsets())
        there = ~np.isnan(figures.x)
        ours = np.stack([figures.x[there], figures.values[there]], axis=1)
        assert_close(_sorted(ours), _sorted(points))
        gone = np.asarray(axes.collections[1].get_offsets())[:, 1]
        assert_close(np.sort(figures.values[~there]), np.sort(gone))


def test_the_other_feature_is_the_one_that_shap_finds(explained: Explained) -> None:
    # Rows of equal values could be cut into other runs, so all values differ here.
    noise = np.random.default_rng(1).normal(size=explained.features.shape) * 1e-3
    features = (np.nan_to_num(explained.features) + noise).astype(np.float32)
    gaps = np.random.default_rng(2).random(features.shape) < 0.02
    for feature in range(len(explained.names)):
        some = np.where(gaps & (np.arange(features.shape[1]) != feature), np.float32("nan"), features)
        theirs = shap.utils.approximate_interactions(
            feature, explained.values.astype(np.float64), some.astype(np.float64)
        )
        ours = strongest_interaction(feature, some, explained.values[:, feature])
        if np.ptp(explained.values[:, feature]) > 0:
            assert ours == theirs[0], explained.names[feature]


def _sorted(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points[np.lexsort(points.T)]
