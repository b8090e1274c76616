"""Jobs: submit, wait, list, fetch, save, cancel and delete, blocking and not."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import numpy as np
import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import AsyncShapbox, RefusedError, Shapbox, flows
from tests.client.conftest import in_thread
from tests.support.client import stopped
from tests.support.trained_case import ModelCase

#: A row of the model diabetes, and rows of several batches.
ROW = [47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, 89]
LONG = np.tile(np.array(ROW, np.float32), (100_000, 1))


def test_a_job_tells_of_its_progress_and_gives_its_result_in_every_form(
    box: Shapbox, case: ModelCase, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    sent: list[tuple[int, int]] = []
    job = box.submit(case.codes().astype(np.float32), "credit", progress=lambda *amount: sent.append(amount))
    assert sent[-1][0] == sent[-1][1] > 2000 * 5 * 4
    assert job.wait(progress=lambda *amount: told.append(amount)) is job
    assert told[-1] == (4, 4)
    assert told == sorted(told)
    assert (job.status, job.document["rows"]) == ("completed", 2000)
    values = job.result().values
    np.testing.assert_allclose(values, case.contributions[:, 0, :-1], atol=2e-5)
    for name in ("values.csv", "values.npy", "values.ndjson"):
        job.save(tmp_path / name, progress=True)
    assert (tmp_path / "values.csv").read_bytes() == job.fetch("text/csv")
    job.save(tmp_path / "values.csv", csv_safe=False)
    assert (tmp_path / "values.csv").read_bytes() == job.fetch("text/csv")  # no name is a formula
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy")[:, :-1], values)
    assert (tmp_path / "values.ndjson").read_bytes().count(b"\n") == 2000
    assert len(list(tmp_path.iterdir())) == 3  # nothing is left of the parts
    again = box.job(job.id).result()
    assert again.data is None
    np.testing.assert_array_equal(again.values, values)


def test_a_key_of_ones_own_gives_the_same_job_and_jobs_are_listed_over_all_pages(
    box: Shapbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "_PAGE", 2)
    key = secrets.token_hex(8)
    made = [box.submit([ROW], "diabetes", idempotency_key=key).wait().id for _ in range(2)]
    with pytest.raises(RefusedError) as caught:
        box.submit([ROW, ROW], "diabetes", idempotency_key=key)
    assert caught.value.code == "idempotency-conflict"
    made[1:] = [box.submit([ROW], "diabetes").wait().id for _ in range(3)]
    assert len(set(made)) == 4
    assert [job.id for job in box.jobs()][:4] == made[::-1]
    assert set(made) <= {job.id for job in box.jobs("completed")}
    assert list(box.jobs("failed")) == []


def test_an_active_job_can_be_left_cancelled_and_deleted(appliance: Appliance, box: Shapbox) -> None:
    ended = box.submit([ROW], "diabetes")
    box.job(ended.id).wait()
    assert ended.wait(seconds=0).status == "completed"
    with stopped(*appliance.worker_pids()):
        job, other = (box.submit(LONG, "diabetes", "interventional") for _ in range(2))
        with pytest.raises(TimeoutError, match=job.id):
            job.wait(seconds=0)
        job.cancel()
        assert job.status == "cancelled"
        with pytest.raises(RefusedError) as caught:
            job.result()
        assert (caught.value.status, caught.value.code) == (409, "job-cancelled")
        assert caught.value.job is not None
        for deleted in (job, job, other, ended):
            deleted.delete()
            with pytest.raises(RefusedError) as caught:
                box.job(deleted.id)
            assert caught.value.code == "job-not-found"


def test_the_asynchronous_client_does_the_same(appliance: Appliance, tmp_path: Path) -> None:
    async def use() -> None:
        async with AsyncShapbox(appliance.url, appliance.api_key) as box:
            many = await asyncio.gather(*(box.explain([ROW], "diabetes") for _ in range(5)))
            assert {one.values.shape for one in many} == {(1, 10)}
            job = await box.submit([ROW, ROW], "diabetes")
            await (await job.wait(progress=True)).save(tmp_path / "values.csv")
            assert await job.fetch("text/csv") == (tmp_path / "values.csv").read_bytes()
            assert (await job.result()).data is not None
            with stopped(*appliance.worker_pids()):
                long = await box.submit(LONG, "diabetes", "interventional")
                await long.cancel()
            assert (await box.job(long.id)).status == long.status == "cancelled"
            assert {listed.id async for listed in box.jobs()} >= {job.id, long.id}
            assert len(await box.models()) == 4
            await job.delete()
            assert (await box.call("GET", f"/v1/jobs/{job.id}")).status == 404
            assert repr(job).startswith("AsyncJob('")

    in_thread(lambda: asyncio.run(use()))
