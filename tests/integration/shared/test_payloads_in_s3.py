"""Rows and values in an S3-compatible server, through the settings that a person gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import PayloadMissingError, SettingsError, StorageUnavailableError
from shared.objects.payloads import Payloads
from shared.settings import Settings
from tests.elsewhere.s3_server import SECRET_KEY, S3Server

JOB = "a" * 32


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
    matrix = np.array([[1.5, np.nan], [-0.0, 3e38]], dtype=np.float32)
    for batch in range(3):
        payloads.put(JOB, "input", batch, matrix)
    payloads.put("b" * 32, "result", 0, matrix)

    np.testing.assert_array_equal(payloads.get(JOB, "input", 2), matrix)
    with pytest.raises(PayloadMissingError, match="000007"):
        payloads.get(JOB, "input", 7)
    payloads.put("b" * 32, "result", 1, matrix, np.arange(3.0))
    assert payloads.get_behind("b" * 32, "result", 0, matrix.shape) == []
    np.testing.assert_array_equal(payloads.get_behind("b" * 32, "result", 1, matrix.shape)[0], [0, 1, 2])
    spans = payloads.get_spans(JOB, "input", 0, matrix.shape, [range(2), range(3, 4)])
    np.testing.assert_array_equal(np.concatenate(spans), matrix.ravel()[[0, 1, 3]])
    assert sorted(payloads.job_ids()) == [JOB, "b" * 32]
    assert payloads.delete_job(JOB) == 3
    assert payloads.delete_job(JOB) == 0
    assert payloads.delete_job("b" * 32) == 2
    payloads.probe()
    assert server.objects() == 0


def test_a_bucket_that_does_not_exist_is_the_stores_fault_and_no_missing_object(
    remote: Settings, tmp_path: Path
) -> None:
    payloads = Payloads.open(replace(remote, storage_url="s3://no-such-bucket", data_dir=tmp_path))
    for use in (
        payloads.probe,
        lambda: payloads.put(JOB, "input", 0, np.zeros((1, 1), np.float32)),
        lambda: payloads.get(JOB, "input", 0),
        lambda: payloads.delete_job(JOB),
        payloads.job_ids,
    ):
        with pytest.raises(StorageUnavailableError, match="no such bucket"):
            use()


def test_a_server_that_is_not_there_is_said_in_one_line_without_a_secret(
    remote: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(StorageUnavailableError) as caught:
        Payloads.open(remote).probe()
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)


def test_a_store_whose_account_is_not_named_is_a_fault_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsError, match="STORAGE_URL cannot be used"):
        Payloads.open(Settings(storage_url="az://container"))
