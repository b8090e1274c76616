"""Summaries and plots of jobs, through the application, with objects as workers leave them."""

from __future__ import annotations

import contextlib
import gzip
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from services.api.app import create_app
from services.api.components import Components
from services.api.http.concurrency_limits import PLOTS
from services.api.results import summaries as job_digests
from services.api.results.plots import png
from services.api.results.plots.png import MOST_PIXELS
from services.api.results.plots.svg import Drawing
from shared.build import ROOT
from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.models.activation.records import Activations, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.summary import summary as summary_module
from shared.summary.summary import Summary
from tests.integration.api.api_client import InProcess, Reply, changed

KINDS = ("bar", "beeswarm", "waterfall", "dependence")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

type Floats = NDArray[np.float32]
type Make = Callable[..., tuple[Job, Floats, Floats]]


@pytest.fixture
def make(components: Components) -> Make:
    """Make a completed job with random rows and values; returns it with both."""

    def make(model: str = "wine", rows: int = 60, digests: bool = False) -> tuple[Job, Floats, Floats]:  # noqa: FBT001, FBT002
        version = components.catalog.get(model)
        job = Job(
            id=new_job_id(),
            model=version.id,
            method=Method.TREE_PATH_DEPENDENT,
            rows=rows,
            batch_rows=25,
            features=len(version.features),
            outputs=len(version.outputs),
            created_at=1.0,
        )
        chance = np.random.default_rng(rows)
        features = chance.normal(size=(rows, job.features)).astype(np.float32)
        features[chance.random(features.shape) < 0.1] = np.nan
        results = chance.normal(size=(rows, job.outputs, job.features + 2)).astype(np.float32)
        results[:, :, -2] = np.arange(1, job.outputs + 1)
        components.store.accept(job)
        for batch in range(job.batches):
            wanted = slice(job.rows_of(batch).start, job.rows_of(batch).stop)
            some, explained = features[wanted], Explanation(results[wanted])
            components.payloads.put_rows(job, batch, some)
            summary = Summary.of_batch(job, batch, some, explained).arrays if digests else ()
            components.payloads.put_result(job, batch, some, explained, summary=summary)
            components.store.transitions.claim(job.id, batch, "worker-1", "token")
            components.store.transitions.complete(job.id, batch, 1, job.model, 0.0)
        return job, features, results

    return make


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs of 120 rows and more keep digests, with samples of twelve rows."""
    monkeypatch.setattr(summary_module, "SAMPLE_ROWS", 12)


def plot(client: InProcess, job: Job, kind: str, query: str = "", **headers: str) -> Reply:
    reply = client.get(f"/v1/jobs/{job.id}/plots/{kind}{query}", **headers)
    assert reply.status == 200, reply.body
    return reply


def assert_is_numpys(summary: Any, features: Floats, results: Floats, names: tuple[str, ...]) -> None:
    for place, output in enumerate(summary["outputs"]):
        phi = results[:, place, :-2].astype(np.float64)
        weights = [feature["mean_abs"] for feature in output["features"]]
        assert weights == sorted(weights, reverse=True)
        assert {feature["feature"] for feature in output["features"]} == set(names)
        assert output["base_value"] == place + 1
        for feature in output["features"]:
            column = names.index(feature["feature"])
            there = ~np.isnan(features[:, column])
            own = phi[:, column]
            wanted = {
                "mean_abs": np.abs(own).mean(),
                "mean": own.mean(),
                "deviation": own.std(),
                "min": own.min(),
                "max": own.max(),
                "correlation": np.corrcoef(features[there, column], own[there])[0, 1],
                "missing": (~there).sum(),
            }
            for name, value in wanted.items():
                assert feature[name] == pytest.approx(value, abs=1e-5), (name, feature)


def summary_of(client: InProcess, job: Job) -> Any:
    return client.get(f"/v1/jobs/{job.id}/summary").json


def test_the_summary_of_a_small_job_is_numpys(client: InProcess, make: Make, components: Components) -> None:
    job, features, results = make("wine", 60)
    wine = components.catalog.get("wine")
    summary = summary_of(client, job)
    assert [output["output"] for output in summary["outputs"]] == list(wine.outputs)
    assert summary["rows"] == 60
    assert_is_numpys(summary, features, results, wine.features)


@pytest.mark.usefixtures("small_sample")
def test_the_summary_of_a_large_job_comes_from_its_batches_digests_or_is_read_back(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = components.catalog.get("wine").features
    for portion in (1, 10**9):
        monkeypatch.setattr(job_digests, "GATHERED_BYTES", portion)
        job, features, results = make("wine", 260, digests=True)
        for batch in range(job.batches):  # the rows themselves are not read
            components.payloads.put_rows(job, batch, np.zeros((1, 1), np.float32))
        assert_is_numpys(summary_of(client, job), features, results, names)
        assert len(components.summaries.of(job).features) == 12
    job, features, results = make("wine", 260, digests=False)
    assert_is_numpys(summary_of(client, job), features, results, names)


def test_every_plot_comes_as_svg_by_default_as_png_if_asked_for_and_packed(
    client: InProcess, make: Make
) -> None:
    job, *_ = make("wine")
    for kind in KINDS:
        svg, image = plot(client, job, kind), plot(client, job, kind, Accept="image/png")
        root = ET.fromstring(svg.body)
        assert svg.headers["content-type"] == "image/svg+xml"
        assert "wine@1" in root.get("aria-label", "")
        assert image.headers["content-type"] == "image/png"
        assert image.body.startswith(PNG_SIGNATURE)
        size = struct.unpack(">II", image.body[16:24])
        assert size == (2 * int(root.get("width", "")), 2 * int(root.get("height", "")))
        packed = plot(client, job, kind, Accept_Encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == svg.body
        assert len(packed.body) < len(svg.body) / 1.5


@pytest.mark.usefixtures("small_sample")
def test_a_large_jobs_plot_says_how_many_rows_it_shows(client: InProcess, make: Make) -> None:
    job, *_ = make("diabetes", 1250, digests=True)

    for kind, says in (
        ("beeswarm", "12 of 1,250 rows"),
        ("dependence", "12 of 1,250 rows"),
        ("bar", "1,250 rows"),
    ):
        assert says in plot(client, job, kind).body.decode()


def test_the_waterfall_shows_the_row_that_is_asked_for(
    client: InProcess, make: Make, components: Components
) -> None:
    job, _, results = make("diabetes", 60)
    for row in (0, 24, 25, 59):
        picture = plot(client, job, "waterfall", f"?row={row}").body.decode()

        margin = float(results[row, 0, :-1].astype(np.float64).sum())
        assert f"row {row}<" in picture
        shown = picture.partition("f(x) = ")[2].partition("<")[0].replace("\N{MINUS SIGN}", "-")
        assert float(shown) == pytest.approx(margin, abs=0.051)
    assert components.catalog.get("diabetes").features[0] in picture


def test_an_output_and_a_feature_are_chosen_by_name(
    client: InProcess, make: Make, components: Components
) -> None:
    job, _, results = make("wine")
    version = components.catalog.get("wine")
    for place, output in enumerate(version.outputs):
        largest = int(np.abs(results[:, place, :-2]).mean(axis=0).argmax())
        by_default = plot(client, job, "dependence", f"?output={quote(output)}").body.decode()
        assert f"SHAP value for {version.features[largest]}" in by_default
        assert f"output {output}" in by_default
    chosen = plot(client, job, "dependence", f"?feature={quote(version.features[3])}").body.decode()
    assert f"SHAP value for {version.features[3]}" in chosen


def test_features_beyond_max_display_share_a_line(client: InProcess, make: Make) -> None:
    job, *_ = make("wine")

    assert "Sum of 11 other features" in plot(client, job, "bar", "?max_display=3").body.decode()
    assert "Sum of 4 other features" in plot(client, job, "beeswarm").body.decode()
    assert "12 other features" in plot(client, job, "waterfall", "?max_display=2").body.decode()
    assert "other features" not in plot(client, job, "bar", "?max_display=13").body.decode()


#: An address that cannot be drawn, the status, and words of the detail.
WRONG = [
    ("plots/pie", 404, "bar, beeswarm, waterfall, dependence"),
    ("plots/bar?row=1", 400, "'row'"),
    ("plots/dependence?max_display=3", 400, "max_display"),
    ("plots/bar?max_display=0", 400, "from 1 to 100"),
    ("plots/waterfall?max_display=abc", 400, ""),
    ("plots/waterfall?row=60", 400, "0 to 59"),
    ("plots/waterfall?row=-1", 400, "whole number"),
    ("plots/dependence?feature=nope", 400, "alcohol"),
    ("plots/bar?output=nope", 400, "class_0"),
    ("summary?output=x", 400, "'output'"),
]


def test_what_cannot_be_drawn_is_said_also_before_the_job_has_ended_and_while_plots_are_busy(
    client: InProcess, make: Make, components: Components
) -> None:
    job, *_ = make("wine")
    queued = client.post_json("/v1/jobs", {"model": "wine", "rows": [[1.0] * 13] * 60}).json["id"]
    for address, status, says in WRONG:
        reply = client.get(f"/v1/jobs/{job.id}/{address}")
        assert reply.status == status
        assert says in reply.detail
        with contextlib.ExitStack() as others:
            for _ in range(PLOTS):
                others.enter_context(components.plots)
            assert client.get(f"/v1/jobs/{queued}/{address}").status == status


def test_a_picture_that_cannot_be_made_is_refused_with_those_that_can(
    client: InProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make()
    address = f"/v1/jobs/{job.id}/plots/bar"
    reply = client.get(address, Accept="image/gif")
    assert reply.status == 406
    assert "image/svg+xml, image/png" in reply.detail
    monkeypatch.setattr(png, "TIMEOUT", 0.001)
    assert client.get(address, Accept="image/png").refusal == (503, "busy")
    monkeypatch.setattr(png, "find_font", lambda: None)
    reply = client.get(address, Accept="image/png")
    assert reply.status == 406
    assert "fonts-dejavu-core" in reply.detail
    plot(client, job, "bar")


def test_pngs_asked_for_at_once_are_written_one_after_the_other(client: InProcess, make: Make) -> None:
    job, *_ = make()
    replies: list[Reply] = []
    others, most = len(psutil.Process().children()), 0  # Redis is one

    def ask() -> None:
        replies.append(client.get(f"/v1/jobs/{job.id}/plots/beeswarm", Accept="image/png"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(psutil.Process().children()))
        time.sleep(0.002)

    assert [reply.status for reply in replies] == [200] * 4
    assert most - others == 1


def test_a_png_of_very_many_lines_has_no_more_pixels_than_the_memory_is_meant_for() -> None:
    drawing = Drawing(800, 3500, "Many lines", 'of "quotes"')
    usual = Drawing(800, 440, "Few lines", "m@1")

    width, height = struct.unpack(">II", png.render_png(drawing)[16:24])
    assert 0.9 * MOST_PIXELS < width * height < 1.01 * MOST_PIXELS
    assert struct.unpack(">II", png.render_png(usual)[16:24]) == (1600, 880)


def test_a_job_that_has_not_ended_or_is_not_there_has_neither_summary_nor_plots(
    client: InProcess, components: Components
) -> None:
    addresses = ["summary", *(f"plots/{kind}" for kind in KINDS)]
    job_id = client.post_json("/v1/jobs", {"model": "wine", "rows": [[1.0] * 13]}).json["id"]
    for address in addresses:
        waiting = client.get(f"/v1/jobs/{job_id}/{address}")
        assert (waiting.status, waiting.headers["retry-after"]) == (409, "1")
        assert client.get(f"/v1/jobs/{'0' * 32}/{address}").status == 404
    components.store.cancel(job_id)
    for address in addresses:
        assert client.get(f"/v1/jobs/{job_id}/{address}").slug == "job-cancelled"


def test_a_job_that_is_deleted_before_or_while_it_is_read_is_not_there(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make()
    plot(client, job, "bar")
    client.call("DELETE", f"/v1/jobs/{job.id}")
    assert client.get(f"/v1/jobs/{job.id}/plots/bar").status == 404  # though its digest is remembered

    job, *_ = make()
    gather = components.summaries.of

    def delete_and_gather(of: Job) -> Summary:
        client.call("DELETE", f"/v1/jobs/{of.id}")
        return gather(of)

    monkeypatch.setattr(job_digests.JobSummaries, "of", lambda _, of: delete_and_gather(of))
    assert client.get(f"/v1/jobs/{job.id}/summary").status == 404
    assert client.get(f"/v1/jobs/{job.id}/plots/bar").status == 404


def test_plots_asked_for_at_once_read_the_job_once(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make()
    reads: list[tuple[str, int]] = []

    def count(name: str) -> None:
        read = getattr(components.payloads, name)

        def counted(_: Any, job: Job, batch: int) -> Any:
            reads.append((name, batch))
            return read(job, batch)

        monkeypatch.setattr(type(components.payloads), name, counted)

    count("rows")
    count("result")
    threads = [threading.Thread(target=plot, args=(client, job, "bar")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(reads) == sorted((side, batch) for side in ("rows", "result") for batch in range(3))


def test_only_so_many_digests_stay_in_memory(
    make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make()[0] for _ in range(4)]
    size = components.summaries.of(jobs[0]).size
    monkeypatch.setattr(job_digests, "KEPT_BYTES", 2 * size)
    for job in jobs:
        components.summaries.of(job)

    assert list(components.summaries._kept) == [job.id for job in jobs[-2:]]


def test_more_plots_than_may_be_made_at_a_time_are_put_off(
    client: InProcess, make: Make, components: Components
) -> None:
    job, *_ = make()
    with contextlib.ExitStack() as others:
        for _ in range(PLOTS - 1):
            others.enter_context(components.plots)
        with components.plots:
            reply = client.get(f"/v1/jobs/{job.id}/plots/bar")
        assert reply.refusal == (503, "busy")
        plot(client, job, "bar")


def test_a_job_that_is_too_wide_for_a_digest_has_its_waterfalls(
    client: InProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make()
    monkeypatch.setattr(summary_module, "MOST_VALUES", job.features * job.outputs)
    plot(client, job, "bar")
    monkeypatch.setattr(summary_module, "MOST_VALUES", job.features * job.outputs - 1)

    for address in ("summary", "plots/bar", "plots/beeswarm", "plots/dependence"):
        reply = client.get(f"/v1/jobs/{job.id}/{address}")
        assert reply.refusal == (422, "too-wide")
    plot(client, job, "waterfall")


def test_a_job_whose_model_is_gone_or_refused_since_keeps_its_plots(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make("wine")
    refused = VersionRecord("key", State.REFUSED, "it takes too long")
    catalog = ModelCatalog.load(ROOT / "models", activations=Activations(versions={"wine@1": refused}))
    later = InProcess(create_app(changed(components, catalog=catalog)))
    assert plot(later, job, "bar").body == plot(client, job, "bar").body
    assert summary_of(later, job) == summary_of(client, job)

    get = components.store.get
    monkeypatch.setattr(components.store, "get", lambda job_id: replace(get(job_id), model="gone@3"))
    assert ">f0<" in plot(client, job, "bar").body.decode()  # numbers for names
