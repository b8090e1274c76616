"""`make verify` against the container, with the faults that need only a signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ops.container.box import Box
from ops.verify.report import Report, Verdict
from ops.verify.run import VerifyOptions, run_verify
from shared.build import ROOT
from tests.appliance.faults.submitted import eventually
from tests.container.conftest import Say


def visit(box: Box, api_key: str | None = None) -> Report:
    return run_verify(
        VerifyOptions(
            url=box.url,
            api_key=api_key or box.api_key,
            admin_api_key=box.admin_key,
            metrics_token=box.metrics_token,
            models_dir=ROOT / "models",
            ready_seconds=1,
        )
    )


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.detail for check in report.failures}


@contextmanager
def held(box: Box, command: str) -> Iterator[None]:
    """Stop all processes in the container with this word, and continue them."""
    script = f'for p in /proc/[0-9]*; do grep -q "^{command}" $p/cmdline 2>/dev/null && kill -$0 ${{p#/proc/}}; done; true'
    box.exec("sh", "-c", script, "STOP")
    try:
        yield
    finally:
        box.exec("sh", "-c", script, "CONT")


def test_a_container_passes_and_no_job_is_left(box: Box, say: Say) -> None:
    report = visit(box)
    assert not failures(report)
    measured = {check.name: check.measured for check in report.checks}
    assert {check.name for check in report.checks if check.verdict is Verdict.SKIP} == {"commit", "TLS"}
    assert "XGBoost's own" in measured["job"]
    assert "of 475 MB" in measured["memory"]
    assert box.get("/v1/jobs").json()["jobs"] == []
    say(f"verify of the container: {report.seconds:.1f} s, {measured['memory']}, {measured['recycle']}")


def test_of_a_container_with_another_key_the_key_is_named(box: Box) -> None:
    found = failures(visit(box, "a-key-that-is-not-this-one"))
    assert found.keys() == {"API_KEY"}
    assert found["API_KEY"].startswith("API_KEY is refused (401")


def test_of_a_container_whose_redis_is_stopped_redis_is_named(box: Box) -> None:
    with held(box, "/usr/bin/redis-server"):
        found = failures(visit(box))
    eventually(lambda: box.get("/readyz").status == 200, box.log_tail)
    assert found.keys() == {"readyz"}
    assert found["readyz"].startswith("redis: Redis does not answer")
