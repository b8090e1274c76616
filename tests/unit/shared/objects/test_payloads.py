import contextlib
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from numpy.typing import NDArray
from obstore.store import MemoryStore

import shared.objects.payloads as module
from shared.build import ROOT
from shared.errors import PayloadMissingError, StorageUnavailableError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job, Method
from shared.objects.payloads import SMALL_BYTES, Payloads, encoded, is_small
from shared.settings import Settings
from tests.support.stored_rows import put_in_folder

#: Two rows of two features in each of eight batches.
LARGE = Job("a" * 32, "m@1", Method.TREE_PATH_DEPENDENT, rows=16, batch_rows=2, features=2, outputs=1)
#: The same rows as one batch.
SMALL = replace(LARGE, rows=2)
ROWS = np.array([[1.5, np.nan], [-0.0, 3e38]], dtype=np.float32)
VALUES = Explanation(np.arange(8, dtype=np.float32).reshape(2, 1, 4))
#: A small job with interactions.
PAIRS = replace(SMALL, interactions=Interactions())
MATRICES = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def payloads(settings: Settings) -> Payloads:
    return Payloads.open(settings)


def files(settings: Settings) -> list[str]:
    folder = settings.objects_dir
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(found, wanted)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)


def assert_stored(payloads: Payloads, job: Job) -> None:
    assert_same(payloads.rows(job, 0), ROWS)
    assert_same(payloads.result(job, 0).array, VALUES.array)
    (some,) = payloads.interaction_spans(job, 0, [range(5, 16)])
    assert_same(some, MATRICES.ravel()[5:16])


@pytest.mark.parametrize(
    ("job", "batch", "stored"),
    [
        (LARGE, 7, [f"jobs/{LARGE.id}/{side}/000007.npy" for side in ("input", "result")]),
        (SMALL, 0, [f"jobs/{SMALL.id}.npy"]),  # one file of one block from its rows to its result
    ],
    ids=["large", "small"],
)
def test_rows_and_result_come_back_as_they_were_stored(
    payloads: Payloads, settings: Settings, job: Job, batch: int, stored: list[str]
) -> None:
    payloads.put_rows(job, batch, ROWS)
    assert files(settings) == stored[:1]
    assert_same(payloads.rows(job, batch), ROWS)
    for _ in range(2):  # a batch that runs again changes nothing
        payloads.put_result(job, batch, ROWS, VALUES)
        assert files(settings) == stored
    assert_same(payloads.rows(job, batch), ROWS)
    assert_same(payloads.result(job, batch).array, VALUES.array)
    assert (settings.objects_dir / stored[0]).stat().st_size < 4096


def test_a_job_that_has_run_already_is_stored_whole(payloads: Payloads, settings: Settings) -> None:
    for job, stored in ((SMALL, 1), (replace(SMALL, id="b" * 32, features=9000, rows=1), 3)):
        rows = np.ones((job.rows, job.features), np.float32)
        explanation = Explanation.empty(job.rows, job.outputs, job.features)
        payloads.put_completed(job, rows, explanation)
        assert len(files(settings)) == stored
        assert_same(payloads.rows(job, 0), rows)
        assert_same(payloads.result(job, 0).array, explanation.array)


def test_small_is_decided_by_the_number_of_batches_and_the_bytes_of_all_arrays() -> None:
    one = replace(SMALL, rows=1, batch_rows=10_000)
    per_row = 4 * (2 + 4)
    for job, row_bytes in ((one, per_row), (replace(one, interactions=Interactions()), per_row + 4 * 9)):
        assert is_small(replace(job, rows=SMALL_BYTES // row_bytes))
        assert not is_small(replace(job, rows=SMALL_BYTES // row_bytes + 1))
    assert not is_small(replace(one, rows=2, batch_rows=1))


@pytest.mark.parametrize("job", [LARGE, SMALL], ids=["large", "small"])
def test_missing_objects_are_named_and_those_of_another_shape_or_damaged_refused(
    payloads: Payloads, settings: Settings, job: Job
) -> None:
    with pytest.raises(PayloadMissingError, match="input/000000"):
        payloads.rows(job, 0)
    payloads.put_rows(job, 0, ROWS[:1])
    with pytest.raises(PayloadMissingError, match="result"):
        payloads.result(job, 0)
    with pytest.raises(PayloadMissingError, match=r"\(1, 2\) instead of \(2, 2\)"):
        payloads.rows(job, 0)
    payloads.put_result(job, 0, ROWS, Explanation(VALUES.array[:, :, :3]))
    with pytest.raises(PayloadMissingError, match=r"\(2, 1, 3\) instead of \(2, 1, 4\)"):
        payloads.result(job, 0)
    stored = files(settings)[0]
    for content in (b"", b"half a matrix", b"\x93NUMPY\x02\x00" + bytes(200)):
        (settings.objects_dir / stored).write_bytes(content)
        with pytest.raises(PayloadMissingError, match=stored):
            payloads.rows(job, 0)


def test_a_small_job_of_an_earlier_version_is_read_completed_and_deleted(
    payloads: Payloads, settings: Settings
) -> None:
    for completed in (False, True):
        put_in_folder(payloads, PAIRS.id, "input", 0, ROWS)
        if completed:
            put_in_folder(payloads, PAIRS.id, "interactions", 0, MATRICES)
            put_in_folder(payloads, PAIRS.id, "result", 0, VALUES.array)
        assert_same(payloads.rows(PAIRS, 0), ROWS)
        for _ in range(0 if completed else 2):
            payloads.put_result(PAIRS, 0, ROWS, VALUES, interactions=MATRICES)
        assert_stored(payloads, PAIRS)
        assert payloads.job_ids() == [PAIRS.id]
        payloads.delete_job(PAIRS.id)
        assert files(settings) == payloads.job_ids() == []


def test_a_local_stores_small_jobs_can_be_moved_to_a_remote_store(tmp_path: Path) -> None:
    local, remote = Payloads.open(Settings(storage_url=f"file://{tmp_path}")), Payloads(MemoryStore())
    local.put_rows(PAIRS, 0, ROWS)
    local.put_result(PAIRS, 0, ROWS, VALUES, interactions=MATRICES)
    remote.write(f"jobs/{PAIRS.id}.npy", [(tmp_path / f"jobs/{PAIRS.id}.npy").read_bytes()])
    assert_stored(remote, PAIRS)


@pytest.mark.parametrize(("before", "after"), [(SMALL_BYTES, 0), (0, SMALL_BYTES)])
def test_jobs_stored_with_another_limit_for_small_ones_are_run_and_read(
    payloads: Payloads, settings: Settings, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    monkeypatch.setattr(module, "SMALL_BYTES", before)
    completed = replace(PAIRS, id="b" * 32)
    for job in (PAIRS, completed):
        payloads.put_rows(job, 0, ROWS)
    payloads.put_result(completed, 0, ROWS, VALUES, interactions=MATRICES)
    monkeypatch.setattr(module, "SMALL_BYTES", after)
    payloads.put_result(PAIRS, 0, ROWS, VALUES, interactions=MATRICES)
    for job in (PAIRS, completed):
        assert_stored(payloads, job)
        payloads.delete_job(job.id)
    assert files(settings) == []


@pytest.mark.parametrize("job", [LARGE, SMALL], ids=["large", "small"])
def test_deleting_a_job_leaves_no_trace_of_it_and_all_of_the_others(
    payloads: Payloads, settings: Settings, job: Job
) -> None:
    kept = [replace(LARGE, id="b" * 32), replace(SMALL, id="c" * 32)]
    for one in (job, *kept):
        for batch in range(one.batches):
            payloads.put_rows(one, batch, ROWS)
    before = files(settings)
    for _ in range(2):
        payloads.delete_job(job.id)
        assert payloads.job_ids() == [one.id for one in kept]
        assert files(settings) == [file for file in before if job.id not in file]
        assert not (settings.objects_dir / "jobs" / job.id).exists()


@pytest.mark.parametrize("deleted_meanwhile", [False, True])
def test_all_objects_go_from_a_store_that_reports_missing_ones_also_while_another_process_deletes_them(
    payloads: Payloads, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, deleted_meanwhile: bool
) -> None:
    payloads._folder = None  # a remote store that, as GCS and Azure do, reports missing objects
    delete = obstore.delete
    calls: list[Any] = []

    def late(store: Any, paths: Any) -> None:
        if not calls and deleted_meanwhile:
            delete(store, f"jobs/{LARGE.id}/input/000000.npy")
        calls.append(paths)
        delete(store, paths)

    monkeypatch.setattr(obstore, "delete", late)
    for whole in (False, True):  # the other layout's objects are missing
        for batch in range(50):
            payloads.put_rows(replace(LARGE, rows=100), batch, ROWS)
        if whole:
            payloads.write(f"jobs/{LARGE.id}.npy", encoded(ROWS))
        calls.clear()
        for _ in range(2):
            payloads.delete_job(LARGE.id)
            assert files(settings) == []
    assert calls


def test_what_a_kill_in_the_middle_of_a_write_left_is_listed_and_goes_with_the_job(
    payloads: Payloads, settings: Settings
) -> None:
    for names in (["/input/000001.npy#1"], [".npy#1"], [f".npy#{n}" for n in range(1, 6)], [".npy#3"]):
        for name in names:
            path = Path(f"{settings.objects_dir}/jobs/{LARGE.id}{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half a matrix")
            os.utime(path, (0, 0))
        assert payloads.job_ids() == [LARGE.id]
        payloads.delete_job(LARGE.id)
        assert files(settings) == payloads.job_ids() == []


def test_a_store_that_cannot_be_written_is_told_apart_from_a_missing_object(
    payloads: Payloads, settings: Settings
) -> None:
    (settings.objects_dir / "jobs").write_text("a file where the folder should be")
    for job in (LARGE, SMALL):
        with pytest.raises(StorageUnavailableError):
            payloads.put_rows(job, 0, ROWS)
        with pytest.raises(StorageUnavailableError):
            payloads.delete_job(job.id)


def test_a_summary_comes_back_without_the_values_and_the_values_without_it(payloads: Payloads) -> None:
    summary = np.array([[0.1, np.nan]]), np.empty((0, 4), dtype=np.float32), np.ones((2, 2), dtype=np.float32)
    payloads.put_result(LARGE, 3, ROWS, VALUES, summary=summary)
    payloads.put_result(LARGE, 4, ROWS, VALUES)
    assert_same(payloads.result(LARGE, 3).array, VALUES.array)
    for stored, back in zip(summary, payloads.summary_arrays(LARGE, 3), strict=True):
        assert back.dtype == stored.dtype
        np.testing.assert_array_equal(back, stored)
    assert payloads.summary_arrays(LARGE, 4) == []
    payloads.put_result(replace(LARGE, batch_rows=3), 0, ROWS, Explanation(np.ones((3, 1, 4), np.float32)))
    for batch, said in ((5, "000005"), (0, "damaged")):  # none, and behind values of another shape
        with pytest.raises(PayloadMissingError, match=said):
            payloads.summary_arrays(LARGE, batch)


@pytest.mark.parametrize("job", [PAIRS, replace(LARGE, interactions=Interactions())], ids=["small", "large"])
def test_spans_of_interactions_come_back_without_the_rest(payloads: Payloads, job: Job) -> None:
    payloads.put_rows(job, 0, ROWS)
    with pytest.raises(PayloadMissingError, match="interactions"):
        payloads.interaction_spans(job, 0, [range(4)])
    payloads.put_result(job, 0, ROWS, VALUES, interactions=MATRICES)
    spans = [range(4), range(5, 16), range(17, 18)]
    found = payloads.interaction_spans(job, 0, spans)
    for span, numbers in zip(spans, found, strict=True):
        assert_same(numbers, MATRICES.ravel()[span.start : span.stop])
    assert_same(payloads.result(job, 0).array, VALUES.array)
    payloads.put_result(job, 0, ROWS, VALUES, interactions=np.ones((1, 1, 3, 3), np.float32))
    if not is_small(job):  # and of fewer matrices none
        with pytest.raises((PayloadMissingError, StorageUnavailableError)):
            payloads.interaction_spans(job, 0, [range(2, 12)])


def test_the_object_store_alone_needs_no_numpy() -> None:
    """The monitor deletes objects and reads none: it is spared 6 MB."""
    code = "import sys, shared.objects.object_store; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_small_job_deleted_while_it_is_written_is_whole_or_missing(payloads: Payloads) -> None:
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            payloads.delete_job(SMALL.id)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(150):
            payloads.put_result(SMALL, 0, ROWS, VALUES)
            with contextlib.suppress(PayloadMissingError):
                assert_same(payloads.result(SMALL, 0).array, VALUES.array)
    finally:
        stop.set()
        thread.join()


def test_stores_can_be_probed_at_the_same_time(payloads: Payloads) -> None:
    with ThreadPoolExecutor(4) as threads:
        for probe in [threads.submit(payloads.probe) for _ in range(40)]:
            probe.result()


def test_arrays_can_be_read_by_numpy_and_those_of_earlier_versions_have_no_checksum(
    payloads: Payloads, settings: Settings
) -> None:
    whole = replace(LARGE, interactions=Interactions())
    for job in (PAIRS, whole):
        payloads.put_rows(job, 0, ROWS)
        payloads.put_result(job, 0, ROWS, VALUES, interactions=MATRICES)
    for path in settings.objects_dir.rglob("*.npy"):
        with path.open("rb") as file:
            assert np.load(file).dtype == np.float32
        unchecked = re.sub(rb"# [0-9a-f]{8}\n", b" " * 10 + b"\n", path.read_bytes())
        path.write_bytes(unchecked[: 128 + MATRICES.nbytes] if "/interactions/" in str(path) else unchecked)
    for job in (PAIRS, whole):
        assert_stored(payloads, job)


def test_spans_of_a_large_array_are_checked_by_the_blocks_that_hold_them(
    payloads: Payloads, settings: Settings
) -> None:
    job = replace(LARGE, features=200, interactions=Interactions())
    matrices = np.arange(2 * 201 * 201, dtype=np.float32).reshape(2, 1, 201, 201)
    payloads.put_result(
        job, 0, np.ones((2, 200), np.float32), Explanation.empty(2, 1, 200), interactions=matrices
    )
    path = settings.objects_dir / f"jobs/{job.id}/interactions/000000.npy"
    stored = path.read_bytes()
    spans = [range(16_380, 16_390), range(matrices.size - 3, matrices.size)]  # of two blocks, and of the last
    for span, numbers in zip(spans, payloads.interaction_spans(job, 0, spans), strict=True):
        assert_same(numbers, matrices.ravel()[span.start : span.stop])
    for place in (50, 128, 128 + 2 * 65_536 - 1, 128 + matrices.nbytes - 1, len(stored) - 1):
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
        with pytest.raises(PayloadMissingError, match="damaged"):
            payloads.interaction_spans(job, 0, spans)
    for length in (1, 128, len(stored) // 2, 128 + matrices.nbytes, len(stored) - 1):
        path.write_bytes(stored[:length])  # obstore panics at ranges beyond the end
        with pytest.raises(PayloadMissingError, match="damaged"):
            payloads.interaction_spans(job, 0, spans)
