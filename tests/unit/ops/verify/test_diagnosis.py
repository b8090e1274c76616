from __future__ import annotations

from typing import Any

from ops.verify.diagnosis import REMEDIES, failed_probes
from ops.verify.jobs import job_of

WELL = ("redis", "queue", "workers", "storage", "models", "draining", "monitor")


def probes(**failed: str) -> dict[str, Any]:
    return {name: {"ok": name not in failed, "detail": failed.get(name, "well")} for name in WELL}


def test_an_appliance_that_is_well_has_no_fault() -> None:
    assert failed_probes(probes()) == []


def test_what_follows_from_a_missing_redis_is_not_told_beside_it() -> None:
    faults = failed_probes(probes(redis="away", queue="not known", workers="not known", storage="full"))
    assert [str(fault) for fault in faults] == ["redis: away", "storage: full"]


def test_an_appliance_that_stops_is_only_that() -> None:
    faults = failed_probes(probes(draining="stopping", workers="0 alive"))
    assert [fault.name for fault in faults] == ["draining"]


def test_every_probe_and_cause_has_a_remedy_of_its_own() -> None:
    assert REMEDIES.keys() >= {*WELL, "programs", "api"}
    assert len(set(REMEDIES.values())) == len(REMEDIES)


def test_the_job_of_an_answer_is_found_wherever_it_stands() -> None:
    assert job_of({"content-location": "/v1/jobs/abc/result"}, None) == "abc"
    assert job_of({"location": "/v1/jobs/abc"}, {"job": "other"}) == "abc"
    assert job_of({}, {"type": "/problems/job-failed", "job": {"id": "abc"}}) == "abc"
    assert job_of({"location": "https://other/"}, [1]) is None
