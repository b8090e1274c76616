from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from services.monitor.metrics.collector import families, zeros_of


class Fixed(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> list[Metric]:
        return self.families


def exported(numbers: dict[tuple[str, ...], float]) -> str:
    registry = CollectorRegistry()
    registry.register(Fixed(list(families(numbers))))
    return generate_latest(registry).decode()


def samples(sums: dict[tuple[str, ...], float]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    parsed = text_string_to_metric_families(exported(zeros_of(["wine@1"]) | sums))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parsed for s in family.samples}


def test_a_metric_without_numbers_is_described_as_well() -> None:
    lines = exported({}).splitlines()
    assert [line for line in lines if not line.startswith("#")] == []
    assert "# TYPE shapbox_http_requests_total counter" in lines
    assert "# TYPE shapbox_http_request_seconds histogram" in lines
    assert "# TYPE shapbox_model_refused gauge" in lines


def test_known_label_values_are_there_from_the_start() -> None:
    found = samples({})
    for status in ("completed", "failed", "cancelled"):
        assert found["shapbox_jobs_total", (("status", status),)] == 0
    for cause in ("worker_died", "lease", "lost", "hung"):
        assert found["shapbox_batches_recovered_total", (("cause", cause),)] == 0
    for reason in ("memory_soft", "memory_hard", "self"):
        assert found["shapbox_worker_recycles_total", (("reason", reason),)] == 0
    assert found["shapbox_rows_explained_total", (("model", "wine@1"),)] == 0
    assert found["shapbox_batches_poisoned_total", ()] == 0
    assert found["shapbox_engine_faults_total", (("model", "wine@1"),)] == 0
    assert found["shapbox_batch_seconds_count", ()] == 0


def test_sums_keep_their_labels_in_order() -> None:
    found = samples({("http_requests_total", "GET", "/v1/jobs/{job_id}", "200"): 3.0})
    labels = (("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "200"))
    assert found["shapbox_http_requests_total", labels] == 3


def test_a_models_largest_residual_is_there_once_there_is_one() -> None:
    assert not [name for name, _ in samples({}) if "residual" in name]
    found = samples({("largest_residual", "wine@1"): 3e-07})
    assert found["shapbox_largest_residual", (("model", "wine@1"),)] == 3e-07


def test_a_histogram_with_labels_has_one_of_each_for_each_of_their_values() -> None:
    found = samples(
        {
            ("http_request_seconds_bucket", "/v1/jobs", "0.1"): 4.0,
            ("http_request_seconds_bucket", "/v1/jobs", "+Inf"): 1.0,
            ("http_request_seconds_sum", "/v1/jobs"): 70.5,
            ("http_request_seconds_bucket", "/readyz", "0.001"): 2.0,
            ("http_request_seconds_bucket", "0.001"): 9.0,  # of a version that had no label
        }
    )
    bucket, count = "shapbox_http_request_seconds_bucket", "shapbox_http_request_seconds_count"
    assert found[bucket, (("le", "0.05"), ("route", "/v1/jobs"))] == 0
    assert found[bucket, (("le", "0.1"), ("route", "/v1/jobs"))] == 4
    assert found[bucket, (("le", "+Inf"), ("route", "/v1/jobs"))] == 5
    assert found["shapbox_http_request_seconds_sum", (("route", "/v1/jobs"),)] == 70.5
    assert found[count, (("route", "/readyz"),)] == 2
    assert {labels for name, labels in found if name == count} == {
        (("route", "/readyz"),),
        (("route", "/v1/jobs"),),
    }


def test_buckets_add_up() -> None:
    found = samples(
        {
            ("batch_seconds_bucket", "0.1"): 4.0,
            ("batch_seconds_bucket", "2.5"): 2.0,
            ("batch_seconds_bucket", "+Inf"): 1.0,
            ("batch_seconds_sum",): 9.5,
        }
    )
    bucket = "shapbox_batch_seconds_bucket"
    assert found[bucket, (("le", "0.05"),)] == 0
    assert found[bucket, (("le", "0.1"),)] == 4
    assert found[bucket, (("le", "1.0"),)] == 4
    assert found[bucket, (("le", "2.5"),)] == 6
    assert found[bucket, (("le", "+Inf"),)] == 7
    assert found["shapbox_batch_seconds_count", ()] == 7
    assert found["shapbox_batch_seconds_sum", ()] == 9.5


def test_fields_of_other_shapes_are_passed_over() -> None:
    found = samples({("jobs_total",): 1.0, ("jobs_total", "completed", "x"): 1.0, ("strange",): 1.0})
    assert found["shapbox_jobs_total", (("status", "completed"),)] == 0
    assert not any("strange" in name for name, _ in found)
