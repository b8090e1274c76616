from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ops.lab.soak.history import sort_out
from ops.lab.soak.plot import BOTTOM, COLOURS, LEFT, RIGHT, TOP, plot
from ops.lab.soak.progress import progress_line
from ops.lab.soak.samples import Kind, Sample, SampleFile, read_samples

MB = 2**20
FACTS = {"minutes": 2, "warm_up_seconds": 12, "workers": 2, "limit_mb": 512, "soft_limit_mb": 475}
SVG = "{http://www.w3.org/2000/svg}"


def samples() -> list[Sample]:
    """Two minutes; the worker is another process from 60 s on."""
    found = [Sample(0, Kind.FACT, name, 0, value) for name, value in FACTS.items()]
    for second in range(120):
        found.append(Sample(second, Kind.WORKING_SET, "cgroup", 0, 300 * MB + second))
        if second % 5 == 0:
            found.append(Sample(second, Kind.PSS, "worker-1", 10 if second < 60 else 11, 90 * MB))
            found.append(Sample(second, Kind.PSS, "api", 5, 40 * MB))
        if second % 10 == 0:
            found.append(Sample(second, Kind.COUNT, "jobs_done", 0, second))
    return found


def test_what_is_written_is_read_again_and_is_on_the_disk_at_once(tmp_path: Path) -> None:
    with SampleFile(tmp_path / "soak.csv") as file:
        file.add(*samples())
        assert read_samples(tmp_path / "soak.csv") == file.all() == samples()


def test_a_file_that_holds_no_samples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no samples"):
        read_samples(tmp_path / "other.csv")


def test_samples_are_sorted_into_lives_and_last_counts() -> None:
    history = sort_out(samples())

    assert [(run.pid, run.born, len(run.points)) for run in history.runs["worker-1"]] == [
        (10, 0, 12),
        (11, 60, 12),
    ]
    assert history.counts == {"jobs_done": 110}
    assert (history.source, history.seconds, history.warm_up) == ("cgroup", 119, 12)


def test_samples_without_the_facts_of_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match="limit_mb"):
        sort_out([sample for sample in samples() if sample.name != "limit_mb"])


def test_the_plot_has_a_curve_for_each_life_and_a_legend_within_its_field() -> None:
    root = ET.fromstring(plot(sort_out(samples())))

    curves = [e for e in root.iter(f"{SVG}path") if e.get("class", "").startswith("c ")]
    texts = [e.text or "" for e in root.iter(f"{SVG}text")]
    # The working set, the api, two runs of the worker, and three lines of the legend.
    assert len(curves) == 4 + 3
    assert {"working set", "api", "worker-1", "minutes", "MB"} <= set(texts)
    assert {text.partition(":")[0] for text in texts} >= {"475", "512"}
    for curve in curves[:4]:
        for point in (curve.get("d") or "").removeprefix("M").split("L"):
            if "H" not in point:
                x, y = map(float, point.split())
                assert LEFT <= x <= RIGHT
                assert TOP <= y <= BOTTOM


def test_the_plot_has_its_own_colours_on_a_dark_page() -> None:
    text = plot(sort_out(samples()))
    light, dark = text.split("@media(prefers-color-scheme:dark)")

    for on_light, on_dark in COLOURS:
        assert on_light in light
        assert on_dark in dark


def test_the_progress_says_what_was_done_and_what_it_takes() -> None:
    line = progress_line(110, 120, samples())

    assert line.startswith("1:50 of 2:00  jobs 110 ")
    assert "working set 300 MB:  api 40  worker-1 90" in line
