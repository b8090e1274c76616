"""Rows and values in an S3-compatible server, through the settings that a person gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import PayloadMissingError, SettingsError, StorageUnavailableError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job, Method
from shared.objects.payloads import Payloads, encoded
from shared.settings import Settings
from tests.support.remote.s3_server import SECRET_KEY, S3Server

LARGE = Job("a" * 32, "m@1", Method.TREE_PATH_DEPENDENT, rows=16, batch_rows=2, features=2, outputs=1)
SMALL = replace(LARGE, id="b" * 32, rows=2)
ROWS = np.array([[1.5, np.nan], [-0.0, 3e38]], dtype=np.float32)
VALUES = Explanation(np.ones((2, 1, 4), dtype=np.float32))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def remote(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in server.settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")  # the endpoint says what is wanted
    return Settings(storage_url=server.settings()["STORAGE_URL"])


def test_what_is_stored_comes_back_and_a_deleted_job_leaves_nothing(
    server: S3Server, remote: Settings
) -> None:
    payloads = Payloads.open(remote)
    with_pairs, matrices = replace(LARGE, interactions=Interactions()), np.arange(18.0, dtype=np.float32)
    for batch in range(3):
        payloads.put_rows(LARGE, batch, ROWS)
    payloads.put_result(LARGE, 1, ROWS, VALUES, summary=[np.arange(3.0)])
    payloads.put_result(with_pairs, 2, ROWS, VALUES, interactions=matrices.reshape(2, 1, 3, 3))
    with pytest.raises(PayloadMissingError, match="000007"):
        payloads.rows(LARGE, 7)
    np.testing.assert_array_equal(payloads.summary_arrays(LARGE, 1)[0], [0, 1, 2])
    assert payloads.summary_arrays(LARGE, 2) == []
    spans = payloads.interaction_spans(with_pairs, 2, [range(2), range(3, 4)])
    np.testing.assert_array_equal(np.concatenate(spans), [0, 1, 3])
    payloads.put_completed(SMALL, ROWS, VALUES)
    for side in ("input", "result"):  # as in earlier versions
        assert server.objects(f"shapbox/jobs/{SMALL.id}/{side}/000000.npy") == 1
    np.testing.assert_array_equal(payloads.result(SMALL, 0).array, VALUES.array)
    moved = replace(SMALL, id="c" * 32)
    payloads.write(f"jobs/{moved.id}.npy", encoded(ROWS))  # moved from a local store
    for job, batch in ((LARGE, 2), (SMALL, 0), (moved, 0)):
        np.testing.assert_array_equal(payloads.rows(job, batch), ROWS)
    assert payloads.job_ids() == [LARGE.id, SMALL.id, moved.id]
    assert server.objects() == 9
    for left, job in ((3, LARGE), (1, SMALL), (0, moved)):
        for _ in range(2):
            payloads.delete_job(job.id)
        assert server.objects() == left
    payloads.probe()
    assert server.objects() == 0


def test_a_store_that_hangs_is_given_up_where_a_client_waits(server: S3Server, remote: Settings) -> None:
    payloads = Payloads.open(remote, patient=False)
    payloads.put_rows(LARGE, 0, ROWS)  # so that connections are kept

    def refused_after(use: Callable[[], object]) -> float:
        started = time.monotonic()
        with pytest.raises(StorageUnavailableError):
            use()
        return time.monotonic() - started

    uses = (
        lambda: payloads.put_rows(LARGE, 0, ROWS),
        lambda: payloads.rows(LARGE, 0),
        lambda: payloads.delete_job(LARGE.id),
    )
    server.hold()
    try:
        with ThreadPoolExecutor(len(uses)) as threads:
            seconds = list(threads.map(refused_after, uses))
    finally:
        server.let_go()
    assert min(seconds) < 5  # 3 s are promised, on a machine that does nothing else
    payloads.delete_job(LARGE.id)


def test_a_store_that_cannot_be_reached_is_at_fault_and_says_so_in_one_line_without_a_secret(
    remote: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = Payloads.open(replace(remote, storage_url="s3://no-such-bucket", data_dir=tmp_path))
    for use in (
        payloads.probe,
        lambda: payloads.put_rows(SMALL, 0, ROWS),
        lambda: payloads.rows(LARGE, 0),
        lambda: payloads.delete_job(SMALL.id),
        payloads.job_ids,
    ):
        with pytest.raises(StorageUnavailableError, match="bucket does not exist"):
            use()
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(StorageUnavailableError) as caught:
        Payloads.open(remote).probe()
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsError, match="STORAGE_URL cannot be used"):
        Payloads.open(Settings(storage_url="az://container"))
