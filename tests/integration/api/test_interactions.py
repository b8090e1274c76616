"""Interactions from request to answer: api, Redis, store, and a worker's runner."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.api.capacity.results import result_bytes
from services.api.components import Components
from services.api.results import result as result_module
from services.api.results.result import JobNames, Result, StoredRows
from services.api.results.writer import FORMATS
from services.worker.batch import BatchRunner
from services.worker.models import WarmModels
from shared import batch_plan
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import new_job_id
from tests.integration.api.api_client import CSV, JSON, NDJSON, NPY, InProcess, Reply
from tests.support.boosters import Floats, contributions, interactions

type Explain = Callable[..., str]

MODELS = {"diabetes": 1, "wine": 3}


@pytest.fixture
def explain(client: InProcess, components: Components, runner: BatchRunner) -> Explain:
    """Have a worker explain a model's examples with options; return the address of the result."""

    def explain(model: str, rows: int, **options: Any) -> str:
        body = {"model": model, "rows": examples(components, model, rows).tolist(), **options}
        reply = client.post_json("/v1/jobs", body)
        assert reply.status == 202, reply.detail
        for job in components.store.active():
            for batch in range(job.batches):
                runner.run(job.id, batch)
        assert components.store.get(reply.json["id"]).status is Status.COMPLETED
        return f"/v1/jobs/{reply.json['id']}/result"

    return explain


def examples(components: Components, model: str, rows: int) -> Floats:
    path = components.catalog.get(model).examples_path
    assert path is not None
    found: Floats = np.load(path)[:rows]
    assert len(found) == rows
    return found


def xgboosts(components: Components, model: str, rows: int) -> tuple[Floats, Floats]:
    """Contributions and interactions straight from XGBoost."""
    booster = WarmModels(components.catalog).get(components.catalog.get(model).id).predictor.booster
    taken = examples(components, model, rows)
    return contributions(booster, taken), interactions(booster, taken)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of wine with interactions have seven rows."""
    monkeypatch.setattr(batch_plan, "batch_budget_bytes", lambda _settings: 7 * 3 * 14 * 14 * 4 + 100)


def test_matrices_come_beside_the_values_in_shaps_shape_and_in_npy_in_xgboosts(
    client: InProcess, explain: Explain, components: Components
) -> None:
    for model, outputs in MODELS.items():
        values, wanted = xgboosts(components, model, 20)
        plain, path = client.get(explain(model, 20)).json, explain(model, 20, interactions=True)
        result = client.get(path).json
        found = np.array(result.pop("interactions"), np.float32)
        assert {**result, "job": None} == {**plain, "job": None}
        shaps = wanted[:, :, :-1, :-1].transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(found, shaps[..., 0] if outputs == 1 else shaps)
        lines = found.sum(axis=2) if outputs == 1 else found.sum(axis=2).transpose(0, 2, 1)
        np.testing.assert_allclose(lines.reshape(20, outputs, -1), values[:, :, :-1], rtol=1e-5, atol=1e-5)
        for offset, limit in ((0, 20), (0, 1), (5, 9), (13, 7), (20, 5)):
            reply = client.get(f"{path}?offset={offset}&limit={limit}", Accept=NPY)
            assert int(reply.headers["content-length"]) == len(reply.body)
            place = len(reply.body) // 3
            part = client.get(f"{path}?offset={offset}&limit={limit}", Accept=NPY, Range=f"bytes={place}-")
            assert part.body == reply.body[place:]
            page = wanted[offset : offset + limit]
            np.testing.assert_array_equal(
                np.load(io.BytesIO(reply.body)), page[:, 0] if outputs == 1 else page
            )


def test_pages_ndjson_and_gzip_agree_with_json_however_much_is_read_at_a_time(
    client: InProcess, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, options in (("interactions", {}), ("pairs", {"top_pairs": 4})):
        for model in MODELS:
            path = explain(model, 9, interactions=True, **options)
            whole = client.get(path).json
            for span in (30, 5000):
                monkeypatch.setattr(result_module, "SPAN_NUMBERS", span)
                assert client.get(f"{path}?offset=5&limit=3").json[name] == whole[name][5:8]
                assert client.get(f"{path}?offset=9").json[name] == []
                zipped = client.get(path, Accept_Encoding="gzip")
                assert json.loads(gzip.decompress(zipped.body)) == whole
                lines = [json.loads(line) for line in client.get(path, Accept=NDJSON).body.splitlines()]
                for of_line, of_all in ((name, name), ("values", "values"), ("prediction", "predictions")):
                    assert [line[of_line] for line in lines] == whole[of_all]


def test_top_pairs_are_the_largest_of_each_row_and_output_by_name(
    client: InProcess, explain: Explain, components: Components
) -> None:
    for model, outputs in MODELS.items():
        features = components.catalog.get(model).features
        _, wanted = xgboosts(components, model, 12)
        result = client.get(explain(model, 12, interactions=True, top_pairs=3)).json
        assert "interactions" not in result
        lower, upper = np.triu_indices(len(features), 1)
        for row, output in np.ndindex(12, outputs):
            pairs = result["pairs"][row] if outputs == 1 else result["pairs"][row][output]
            largest = np.sort(np.abs(wanted[row, output, lower, upper]))[::-1][:3]
            assert [abs(np.float32(pair["value"])) for pair in pairs] == list(largest[largest > 0])
            for pair in pairs:
                one, other = (features.index(name) for name in pair["features"])
                assert one < other
                assert np.float32(pair["value"]) == wanted[row, output, one, other]


def test_the_job_document_says_what_was_asked_for_in_the_body_or_the_query_and_nothing_else(
    client: InProcess, components: Components
) -> None:
    plain = send(client, "/v1/jobs", {}).json
    for options, added in (
        ({"interactions": False}, {}),
        ({"interactions": True}, {"interactions": True}),
        ({"interactions": True, "top_pairs": 5}, {"interactions": True, "top_pairs": 5}),
    ):
        job = send(client, "/v1/jobs", options).json
        assert {name: value for name, value in job.items() if name not in plain} == added
        assert client.get(job["links"]["self"]).json == job
    line = ",".join(["1"] * 10)
    header = ",".join(components.catalog.get("diabetes").features)
    path = "/v1/jobs?model=diabetes&interactions=true&top_pairs=9"
    for content_type, body in ((CSV, f"{header}\n{line}\n"), (NDJSON, f"[{line}]\n")):
        job = client.post(path, body.encode(), content_type).json
        assert (job["interactions"], job["top_pairs"]) == (True, 9)


#: Options that make no sense, in the query and in the body, and the remedy.
SENSELESS: list[tuple[str, dict[str, Any], str]] = [
    ("interactions=yes", {}, "neither true nor false"),
    ("interactions=TRUE", {}, "neither true nor false"),
    ("", {"interactions": "true"}, "true or false"),
    *((f"interactions=true&top_pairs={pairs}", {}, "from 1 to 100") for pairs in ("0", "101", "-1", "2.5")),
    ("", {"interactions": True, "top_pairs": 101}, "from 1 to 100"),
    ("top_pairs=5", {}, "interactions=true"),
    ("interactions=false&top_pairs=5", {}, "interactions=true"),
    ("interactions=false", {"interactions": True}, "Send it once"),
    ("top_pairs=5", {"interactions": True, "top_pairs": 6}, "Send it once"),
    ("interactions=true", {"method": "interventional"}, "Use tree_path_dependent"),
]


def send(client: InProcess, path: str, options: dict[str, Any], **headers: str) -> Reply:
    return client.post_json(path, {"model": "diabetes", "rows": [[1.0] * 10], **options}, **headers)


def test_what_makes_no_sense_or_fits_nowhere_is_refused_before_any_work_with_what_to_do(
    client: InProcess, nothing_is_left: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for query, members, told in SENSELESS:
        for path in ("/v1/jobs", "/v1/explain"):
            reply = send(client, f"{path}?{query}", members)
            assert reply.refusal == (422, "unprocessable")
            assert told in reply.detail
    for accept, options in ((CSV, {}), (CSV, {"top_pairs": 3}), (NPY, {"top_pairs": 3})):
        reply = send(client, "/v1/explain", {"interactions": True, **options}, Accept=accept)
        assert reply.refusal == (406, "not-acceptable")
        assert JSON in reply.detail
        assert "interactions=false" in reply.detail
    monkeypatch.setattr(batch_plan, "batch_budget_bytes", lambda _settings: 3 * 13 * 13 * 4)
    for options in ({}, {"top_pairs": 1}):
        body = {"model": "wine", "rows": [[1.0] * 13], "interactions": True, **options}
        reply = client.post_json("/v1/jobs", body)
        assert reply.refusal == (413, "batch-too-large")
        assert "at most 12 features fit" in reply.detail
    nothing_is_left()


def test_without_its_interactions_a_result_has_every_representation_and_the_same_summary_and_plots(
    client: InProcess, explain: Explain
) -> None:
    plain = explain("diabetes", 9)
    for options in ({}, {"top_pairs": 2}):
        path = explain("diabetes", 9, interactions=True, **options)
        assert client.get(path, Accept=CSV).status == 406
        assert client.get(path, Accept=f"{CSV}, {NDJSON};q=0.5").headers["content-type"] == NDJSON
        for accept in (CSV, NPY, NDJSON):
            without = client.get(f"{path}?interactions=false", Accept=accept)
            assert without.body == client.get(plain, Accept=accept).body
        assert client.get(f"{path}?interactions=true").body == client.get(path).body
        assert client.get(f"{path}?interactions=no").status == 400
        job, plain_job = path.removesuffix("/result"), plain.removesuffix("/result")
        summary = client.get(f"{job}/summary").json["outputs"]
        assert summary == client.get(f"{plain_job}/summary").json["outputs"]
        assert client.get(f"{job}/plots/bar").body == client.get(f"{plain_job}/plots/bar").body


def test_an_idempotency_key_goes_with_what_was_asked_for(client: InProcess) -> None:
    path = "/v1/jobs?interactions=true"
    first = send(client, path, {}, Idempotency_Key="one")
    assert send(client, path, {}, Idempotency_Key="one").json["id"] == first.json["id"]
    for other in ("/v1/jobs", "/v1/jobs?interactions=false", f"{path}&top_pairs=3"):
        reply = send(client, other, {}, Idempotency_Key="one")
        assert reply.refusal == (422, "idempotency-conflict")


def test_room_is_promised_for_matrices_and_they_take_no_more(
    client: InProcess, explain: Explain, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_plan, "batch_budget_bytes", lambda _settings: 2**24)  # one batch
    job_id = explain("wine", 40, interactions=True).split("/")[3]
    folder = components.settings.objects_dir / "jobs" / job_id
    stored = sum(
        path.stat().st_size for side in ("result", "interactions") for path in (folder / side).iterdir()
    )
    promised = result_bytes(40, 13, 3, Interactions())
    assert 40 * 3 * 14 * 14 * 4 < stored <= promised < 2 * stored
    assert client.call("DELETE", f"/v1/jobs/{job_id}").status == 204
    assert not folder.exists()


def test_a_result_larger_than_the_api_may_hold_is_streamed(components: Components) -> None:
    features, rows = 400, 24  # 15 MB
    job = Job(new_job_id(), "wide@1", Method.TREE_PATH_DEPENDENT, rows, 12, features, 1)
    job = replace(job, interactions=Interactions())
    matrices = np.zeros((12, 1, features + 1, features + 1), dtype=np.float32)
    matrices[:, :, 7, 9] = 1.5
    for batch in range(2):
        none = np.zeros((12, features), np.float32)
        values = Explanation(np.zeros((12, 1, features + 2), dtype=np.float32))
        components.payloads.put_result(job, batch, none, values, interactions=matrices)
    stored = StoredRows(job, range(rows), components.payloads)
    result = Result.stored(stored, JobNames.of(job, components.catalog), interactions=True)
    for accept in (NPY, JSON, NDJSON):
        tracemalloc.start()
        sizes = [len(chunk) for chunk in FORMATS[accept].write(result)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert max(sizes) < 4 * 2**20
        assert sum(sizes) > rows * features * features * 4
        assert peak < 6 * 2**20
