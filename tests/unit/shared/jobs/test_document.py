import time
from dataclasses import replace
from typing import Any

from shared.interactions import Interactions
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import is_job_id, made_at, new_job_id

JOB = Job(new_job_id(), "wine@1", Method.INTERVENTIONAL, 1001, 500, 13, 3, created_at=1.5, todo=3)


def test_a_job_reads_back_from_its_hash_and_one_of_before_lacks_what_is_new() -> None:
    changes: list[dict[str, Any]] = [{"fallback": True, "request": "r1"}]
    changes += [{"interactions": some} for some in (None, Interactions(), Interactions(top_pairs=7))]
    changes += [{"largest_residual": some} for some in (None, 0.0, 3.1e-07)]
    new = (b"interactions", b"largest_residual", b"checksum")
    for change in changes:
        job = replace(JOB, **change)
        fields = {name.encode(): str(value).encode() for name, value in job.to_hash().items()}
        assert Job.from_hash(fields, todo=3) == job
        assert job.document()["largest_residual"] == job.largest_residual
        kept = {name: value for name, value in fields.items() if name not in new}
        for before in ({**fields, **dict.fromkeys(new, b"")}, kept):
            found = Job.from_hash(before, todo=3)
            assert (found.interactions, found.largest_residual) == (None, None)


def test_the_last_batch_holds_the_rest_of_the_rows() -> None:
    assert JOB.batches == 3
    assert [len(JOB.rows_of(batch)) for batch in range(3)] == [500, 500, 1]


def test_the_document_is_the_contracts() -> None:
    document = replace(JOB, status=Status.RUNNING, started_at=2.0, todo=1).document()
    assert document["batches"] == {"total": 3, "completed": 2}
    assert document["created_at"] == "1970-01-01T00:00:01.500Z"
    assert document["finished_at"] is None
    assert document["links"]["result"] == f"/v1/jobs/{document['id']}/result"
    assert not {"fallback", "interactions", "top_pairs"} & set(document)
    assert replace(JOB, fallback=True).document()["fallback"] is True
    whole = replace(JOB, interactions=Interactions()).document()
    assert (whole["interactions"], "top_pairs" in whole) == (True, False)
    pairs = replace(JOB, interactions=Interactions(top_pairs=7)).document()
    assert (pairs["interactions"], pairs["top_pairs"]) == (True, 7)


def test_ids_sort_by_their_time_and_tell_it() -> None:
    first = new_job_id()
    time.sleep(0.002)
    second = new_job_id()
    assert first < second
    assert abs(made_at(second) - time.time()) < 5
    assert is_job_id(first)
    assert not is_job_id("../../etc/passwd")
    assert not is_job_id(first + "\n")
