"""Summaries and plots of jobs, through the application, with objects as workers leave them."""

from __future__ import annotations

import contextlib
import gzip
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from services.api.app import create_app
from services.api.components import Components
from services.api.http.concurrency_limits import PLOTS
from services.api.results import summaries
from services.api.results.plots import png
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

type Floats = NDArray[np.float32]
type Make = Callable[..., tuple[Job, Floats, Floats]]


@pytest.fixture
def make(components: Components) -> Make:
    """Make a completed job with random rows and values; returns it with both."""

    def make(model: str = "wine", rows: int = 60, *, digests: bool = False) -> tuple[Job, Floats, Floats]:
        version = components.catalog.get(model)
        features, outputs = len(version.features), len(version.outputs)
        method = Method.TREE_PATH_DEPENDENT
        job = Job(new_job_id(), version.id, method, rows, 25, features, outputs, created_at=1.0)
        chance = np.random.default_rng(rows)
        given = chance.normal(size=(rows, features)).astype(np.float32)
        given[chance.random(given.shape) < 0.1] = np.nan
        results = chance.normal(size=(rows, outputs, features + 2)).astype(np.float32)
        results[:, :, -2] = np.arange(1, outputs + 1)
        components.store.accept(job)
        for batch in range(job.batches):
            wanted = slice(job.rows_of(batch).start, job.rows_of(batch).stop)
            some, explained = given[wanted], Explanation(results[wanted])
            components.payloads.put_rows(job, batch, some)
            summary = Summary.of_batch(job, batch, some, explained).arrays if digests else ()
            components.payloads.put_result(job, batch, some, explained, summary=summary)
            components.store.transitions.claim(job.id, batch, "worker-1", "token")
            components.store.transitions.complete(job.id, batch, 1, job.model, 0.0)
        return job, given, results

    return make


def plot(client: InProcess, job: Job, kind: str, query: str = "", **headers: str) -> Reply:
    reply = client.get(f"/v1/jobs/{job.id}/plots/{kind}{query}", **headers)
    assert reply.status == 200, reply.body
    return reply


def summary_of(client: InProcess, job: Job) -> Any:
    return client.get(f"/v1/jobs/{job.id}/summary").json


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
            assert {name: feature[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)


def test_the_summary_is_numpys_and_that_of_a_large_job_comes_from_its_digests_or_is_read_back(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    wine = components.catalog.get("wine")
    job, features, results = make("wine", 60)
    summary = summary_of(client, job)
    assert [output["output"] for output in summary["outputs"]] == list(wine.outputs)
    assert summary["rows"] == 60
    assert_is_numpys(summary, features, results, wine.features)

    # Jobs of 120 rows and more keep digests, with samples of twelve rows.
    monkeypatch.setattr(summary_module, "SAMPLE_ROWS", 12)
    job, features, results = make("wine", 260, digests=False)
    assert_is_numpys(summary_of(client, job), features, results, wine.features)
    for portion in (1, 10**9):
        monkeypatch.setattr(summaries, "GATHERED_BYTES", portion)
        job, features, results = make("wine", 260, digests=True)
        for batch in range(job.batches):  # the rows themselves are not read
            components.payloads.put_rows(job, batch, np.zeros((1, 1), np.float32))
        assert_is_numpys(summary_of(client, job), features, results, wine.features)
    for kind, says in {
        "beeswarm": "12 of 260 rows",
        "dependence": "12 of 260 rows",
        "bar": "260 rows",
    }.items():
        assert says in plot(client, job, kind).body.decode()


def test_every_plot_comes_as_svg_by_default_packed_and_as_png_if_asked_for(
    client: InProcess, make: Make
) -> None:
    job, *_ = make("wine")
    for kind in KINDS:
        svg = plot(client, job, kind)
        assert svg.headers["content-type"] == "image/svg+xml"
        root = ET.fromstring(svg.body)
        assert "wine@1" in root.get("aria-label", "")
        packed = plot(client, job, kind, Accept_Encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == svg.body
        assert len(packed.body) < len(svg.body) / 1.5
    image = plot(client, job, kind, Accept="image/png")
    assert image.headers["content-type"] == "image/png"
    assert image.body.startswith(b"\x89PNG\r\n\x1a\n")
    size = struct.unpack(">II", image.body[16:24])
    assert size == (2 * int(root.get("width", "")), 2 * int(root.get("height", "")))


def test_a_png_of_very_many_lines_has_no_more_pixels_than_the_memory_is_meant_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(png, "MOST_PIXELS", 100_000)
    width, height = struct.unpack(">II", png.render_png(Drawing(800, 3500, "Many", 'of "q"'))[16:24])
    assert 0.9 * png.MOST_PIXELS < width * height < 1.01 * png.MOST_PIXELS


def test_pngs_asked_for_at_once_are_written_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, seen = [0], []

    def run(*_command: Any, **_more: Any) -> subprocess.CompletedProcess[bytes]:
        inside[0] += 1
        seen.append(inside[0])
        time.sleep(0.02)  # the others come meanwhile
        inside[0] -= 1
        return subprocess.CompletedProcess([], 0, b"a picture")

    monkeypatch.setattr(subprocess, "run", run)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(png.render_png, [Drawing(8, 8, "", "")] * 4)) == [b"a picture"] * 4
    assert seen == [1] * 4


def test_row_output_feature_and_the_number_of_lines_are_those_asked_for(
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

    job, _, results = make("wine")
    wine = components.catalog.get("wine")
    for place, output in enumerate(wine.outputs):
        largest = int(np.abs(results[:, place, :-2]).mean(axis=0).argmax())
        by_default = plot(client, job, "dependence", f"?output={quote(output)}").body.decode()
        assert f"SHAP value for {wine.features[largest]}" in by_default
        assert f"output {output}" in by_default
    chosen = plot(client, job, "dependence", f"?feature={quote(wine.features[3])}").body.decode()
    assert f"SHAP value for {wine.features[3]}" in chosen

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
        for _ in range(PLOTS - 1):
            others.enter_context(components.plots)
        plot(client, job, "bar")
        others.enter_context(components.plots)
        assert client.get(f"/v1/jobs/{job.id}/plots/bar").refusal == (503, "busy")
        for address, status, _ in WRONG:
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


def test_a_job_that_has_not_ended_or_is_not_there_has_neither_summary_nor_plots(
    client: InProcess, components: Components
) -> None:
    job_id = client.post_json("/v1/jobs", {"model": "wine", "rows": [[1.0] * 13]}).json["id"]
    for address in ("summary", "plots/bar", "plots/waterfall"):
        waiting = client.get(f"/v1/jobs/{job_id}/{address}")
        assert (waiting.status, waiting.headers["retry-after"]) == (409, "1")
        assert client.get(f"/v1/jobs/{'0' * 32}/{address}").status == 404
    components.store.cancel(job_id)
    assert client.get(f"/v1/jobs/{job_id}/plots/bar").slug == "job-cancelled"


def test_a_job_that_is_deleted_before_or_while_it_is_read_is_not_there(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, *_ = make()
    plot(client, job, "bar")
    client.call("DELETE", f"/v1/jobs/{job.id}")
    assert client.get(f"/v1/jobs/{job.id}/plots/bar").status == 404  # though its digest is remembered

    read = components.payloads.result

    def delete_and_read(_: Any, job: Job, batch: int) -> Any:
        client.call("DELETE", f"/v1/jobs/{job.id}")
        return read(job, batch)

    monkeypatch.setattr(type(components.payloads), "result", delete_and_read)
    for address in ("summary", "plots/bar"):
        job, *_ = make()
        assert client.get(f"/v1/jobs/{job.id}/{address}").status == 404


def test_plots_asked_for_at_once_read_the_job_once_and_few_digests_stay_in_memory(
    client: InProcess, make: Make, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make()[0] for _ in range(4)]
    reads: list[int] = []
    read = components.payloads.result

    def counted(_: Any, job: Job, batch: int) -> Any:
        reads.append(batch)
        return read(job, batch)

    monkeypatch.setattr(type(components.payloads), "result", counted)
    threads = [threading.Thread(target=plot, args=(client, jobs[0], "bar")) for _ in range(PLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reads) == [0, 1, 2]

    monkeypatch.setattr(summaries, "KEPT_BYTES", 2 * components.summaries.of(jobs[0]).size)
    for job in jobs:
        components.summaries.of(job)
    assert list(components.summaries._kept) == [job.id for job in jobs[-2:]]


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
