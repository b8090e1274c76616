import time
from typing import Any

import pytest

from shared.interactions import Interactions
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import is_job_id, made_at, new_job_id


def a_job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "id": new_job_id(),
        "model": "wine@1",
        "method": Method.INTERVENTIONAL,
        "rows": 1001,
        "batch_rows": 500,
        "features": 13,
        "outputs": 3,
        "created_at": 1.5,
        "todo": 3,
    }
    return Job(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"fallback": True, "request": "r1"},
        *({"interactions": some} for some in (None, Interactions(), Interactions(top_pairs=7))),
        *({"largest_residual": some} for some in (None, 0.0, 3.1e-07)),
    ],
)
def test_a_job_reads_back_from_its_hash_and_one_of_before_lacks_what_is_new(changes: dict[str, Any]) -> None:
    job = a_job(**changes)
    fields = {name.encode(): str(value).encode() for name, value in job.to_hash().items()}

    assert Job.from_hash(fields, todo=3) == job
    assert job.document()["largest_residual"] == job.largest_residual
    new = (b"interactions", b"largest_residual")
    for before in ({**fields, **dict.fromkeys(new, b"")}, {k: v for k, v in fields.items() if k not in new}):
        found = Job.from_hash(before, todo=3)
        assert (found.interactions, found.largest_residual) == (None, None)


def test_a_document_tells_interactions_only_where_they_were_asked_for() -> None:
    assert not {"interactions", "top_pairs"} & set(a_job().document())
    whole = a_job(interactions=Interactions()).document()
    assert (whole["interactions"], "top_pairs" in whole) == (True, False)
    pairs = a_job(interactions=Interactions(top_pairs=7)).document()
    assert (pairs["interactions"], pairs["top_pairs"]) == (True, 7)


def test_the_last_batch_holds_the_rest_of_the_rows() -> None:
    job = a_job()

    assert job.batches == 3
    assert [len(job.rows_of(batch)) for batch in range(3)] == [500, 500, 1]


def test_the_document_is_the_contracts() -> None:
    document = a_job(status=Status.RUNNING, started_at=2.0, todo=1).document()

    assert document["batches"] == {"total": 3, "completed": 2}
    assert document["created_at"] == "1970-01-01T00:00:01.500Z"
    assert document["finished_at"] is None
    assert document["links"]["result"] == f"/v1/jobs/{document['id']}/result"
    assert "fallback" not in document
    assert a_job(fallback=True).document()["fallback"] is True


def test_ids_sort_by_their_time_and_tell_it() -> None:
    first = new_job_id()
    time.sleep(0.002)
    second = new_job_id()

    assert first < second
    assert abs(made_at(second) - time.time()) < 5
    assert is_job_id(first)
    assert not is_job_id("../../etc/passwd")
    assert not is_job_id(first + "\n")
