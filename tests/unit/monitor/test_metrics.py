"""The monitor exports sums of Redis, facts of build and models, and the store's size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.monitor.metrics import storage_use
from services.monitor.metrics.collector import facts_of, families, zeros_of
from services.monitor.metrics.storage_use import StorageUse, folder_bytes
from shared.build import ROOT
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog


def samples(numbers: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Return the samples exported for these numbers, by name and the labels' values."""
    return {
        (s.name.removeprefix("shapbox_"), *s.labels.values()): s.value
        for family in families(numbers)
        for s in family.samples
    }


def test_known_label_values_are_there_from_the_start_and_fields_of_other_shapes_are_passed_over() -> None:
    found = samples(
        zeros_of(["wine@1"])
        | {
            ("http_requests_total", "GET", "/v1/jobs/{job_id}", "200"): 3.0,
            ("jobs_total",): 1.0,
            ("jobs_total", "completed", "x"): 1.0,
            ("strange",): 1.0,
        }
    )
    expected: dict[str, tuple[str, ...]] = {
        "jobs_total": ("completed", "failed", "cancelled"),
        "batches_recovered_total": ("worker_died", "lease", "lost", "hung"),
        "worker_recycles_total": ("memory_soft", "memory_hard", "self"),
        "rows_explained_total": ("wine@1",),
        "engine_faults_total": ("wine@1",),
    }
    assert all(found[name, label] == 0 for name, labels in expected.items() for label in labels)
    assert found["batches_poisoned_total",] == found["batch_seconds_count",] == 0
    assert not [name for name, *_ in found if "residual" in name]  # until there is one
    assert found["http_requests_total", "GET", "/v1/jobs/{job_id}", "200"] == 3
    assert not any("strange" in name for name, *_ in found)


def test_the_buckets_of_a_histogram_add_up_for_each_value_of_its_labels() -> None:
    found = samples(
        zeros_of(["wine@1"])
        | {
            ("batch_seconds_bucket", "0.1"): 4.0,
            ("batch_seconds_bucket", "2.5"): 2.0,
            ("batch_seconds_bucket", "+Inf"): 1.0,
            ("http_request_seconds_bucket", "/v1/jobs", "0.1"): 4.0,
            ("http_request_seconds_bucket", "/v1/jobs", "+Inf"): 1.0,
            ("http_request_seconds_sum", "/v1/jobs"): 70.5,
            ("http_request_seconds_bucket", "/readyz", "0.001"): 2.0,
            ("http_request_seconds_bucket", "0.001"): 9.0,  # of a version that had no label
        }
    )
    for limit, wanted in (("0.05", 0), ("0.1", 4), ("1.0", 4), ("2.5", 6), ("+Inf", 7)):
        assert found["batch_seconds_bucket", limit] == wanted
    for limit, wanted in (("0.05", 0), ("0.1", 4), ("+Inf", 5)):
        assert found["http_request_seconds_bucket", "/v1/jobs", limit] == wanted
    assert found["batch_seconds_count",] == 7
    assert found["http_request_seconds_sum", "/v1/jobs"] == 70.5
    counts = {key: value for key, value in found.items() if key[0] == "http_request_seconds_count"}
    assert {key[1:]: value for key, value in counts.items()} == {("/readyz",): 2, ("/v1/jobs",): 5}


def test_refused_versions_are_1_and_a_refused_method_has_no_engine() -> None:
    methods = {
        ExplanationKind.TREE_PATH_DEPENDENT: MethodRecord("compiled-avx2"),
        ExplanationKind.INTERVENTIONAL: MethodRecord(None, "shap's values are 0.67 off the margin"),
        ExplanationKind.INTERACTIONS: MethodRecord("xgboost", "more than 250,000 pairs"),
    }
    records = {
        "wine@1": VersionRecord("key", State.READY, methods=methods),
        "diabetes@1": VersionRecord("key", State.REFUSED, "too large"),
    }
    catalog = ModelCatalog.load(ROOT / "models", activations=Activations("compiled-avx2", records))
    found = samples(facts_of(catalog.versions(), catalog.refused(), "c0ffee", None))
    refused = {key[1]: value for key, value in found.items() if key[0] == "model_refused"}
    assert refused == {"breast-cancer": 0, "diabetes": 1, "wine": 0}
    assert not [key for key in found if key[:2] == ("model_info", "diabetes")]
    assert {key[3:] for key in found if key[:2] == ("model_engine_info", "wine")} == {
        ("tree_path_dependent", "compiled-avx2"),
        ("interactions", "xgboost"),
    }


def test_the_stores_files_are_added_up_and_a_slow_walk_is_not_repeated_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder_bytes(tmp_path / "none") == 0
    (tmp_path / "jobs" / "a" / "input").mkdir(parents=True)
    (tmp_path / "jobs" / "a" / "input" / "000000.npy").write_bytes(b"x" * 1000)
    (tmp_path / "probe").write_bytes(b"x" * 24)
    monkeypatch.setattr(storage_use, "WALK_SHARE", 1e-9)
    use, remote = StorageUse(tmp_path), StorageUse(None)
    use.step()
    (tmp_path / "new").write_bytes(b"x")
    for one in (use, remote):
        one.step()
    assert (use.used, remote.used) == (1024, None)
