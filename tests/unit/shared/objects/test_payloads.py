from pathlib import Path

import numpy as np
import pytest

from shared.errors import PayloadMissingError, StorageUnavailableError
from shared.objects.payloads import Payloads
from shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_a_matrix_comes_back_as_it_was_stored(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    matrix = np.array([[1.5, np.nan], [-0.0, 3e38]], dtype=np.float32)

    payloads.put("a" * 32, "input", 7, matrix)

    np.testing.assert_array_equal(payloads.get("a" * 32, "input", 7), matrix)


def test_storing_twice_changes_nothing_and_leaves_one_object(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    for _ in range(2):
        payloads.put("a" * 32, "result", 0, np.ones((2, 1, 4), dtype=np.float32))

    assert len([path for path in settings.objects_dir.rglob("*") if path.is_file()]) == 1


def test_what_is_not_there_is_named(settings: Settings) -> None:
    with pytest.raises(PayloadMissingError, match="000003"):
        Payloads.open(settings).get("a" * 32, "input", 3)


def test_deleting_a_job_leaves_no_trace_of_it_and_all_of_the_others(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    for job in ("a" * 32, "b" * 32):
        for batch in range(3):
            payloads.put(job, "input", batch, np.ones((1, 1), dtype=np.float32))

    assert payloads.delete_job("a" * 32) == 3

    assert payloads.job_ids() == ["b" * 32]
    assert not (settings.objects_dir / "jobs" / ("a" * 32)).exists()
    assert payloads.delete_job("a" * 32) == 0


def test_what_a_kill_in_the_middle_of_a_write_left_goes_with_the_job(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    payloads.put("a" * 32, "input", 0, np.ones((1, 1), dtype=np.float32))
    folder = settings.objects_dir / "jobs" / ("a" * 32)
    (folder / "input" / "000001.npy#1").write_bytes(b"half a matrix")

    payloads.delete_job("a" * 32)

    assert not folder.exists()
    assert payloads.job_ids() == []


def test_a_store_that_cannot_be_written_is_told_apart_from_a_missing_object(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    (settings.objects_dir / "jobs").write_text("a file where the folder should be")

    with pytest.raises(StorageUnavailableError):
        payloads.put("a" * 32, "input", 0, np.ones((1, 1), dtype=np.float32))


def test_arrays_behind_a_matrix_come_back_without_it_and_the_matrix_without_them(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    matrix = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    behind = np.array([[0.1, np.nan]]), np.empty((0, 4), dtype=np.float32), np.ones((2, 2), dtype=np.float32)

    payloads.put("a" * 32, "result", 3, matrix, *behind)

    np.testing.assert_array_equal(payloads.get("a" * 32, "result", 3), matrix)
    found = payloads.get_behind("a" * 32, "result", 3, matrix.shape)
    for stored, back in zip(behind, found, strict=True):
        assert back.dtype == stored.dtype
        np.testing.assert_array_equal(back, stored)


def test_nothing_behind_a_matrix_is_no_error(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    payloads.put("a" * 32, "result", 0, np.ones((3, 1, 4), dtype=np.float32))

    assert payloads.get_behind("a" * 32, "result", 0, (3, 1, 4)) == []


def test_what_is_behind_another_matrix_than_was_thought_is_refused(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    payloads.put("a" * 32, "result", 0, np.ones((3, 1, 4), dtype=np.float32), np.ones(2))

    with pytest.raises(PayloadMissingError, match="no matrix"):
        payloads.get_behind("a" * 32, "result", 0, (2, 1, 4))
    with pytest.raises(PayloadMissingError, match="000001"):
        payloads.get_behind("a" * 32, "result", 1, (2, 1, 4))


def test_spans_of_a_matrix_come_back_without_the_rest(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    matrix = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    payloads.put("a" * 32, "interactions", 2, matrix)
    spans = [range(4), range(17, 31), range(59, 60)]
    found = payloads.get_spans("a" * 32, "interactions", 2, matrix.shape, spans)
    for span, numbers in zip(spans, found, strict=True):
        np.testing.assert_array_equal(numbers, matrix.ravel()[span.start : span.stop])


def test_spans_of_what_is_not_there_or_is_shorter_are_named(settings: Settings) -> None:
    payloads = Payloads.open(settings)
    with pytest.raises(PayloadMissingError, match="000003"):
        payloads.get_spans("a" * 32, "interactions", 3, (2, 2), [range(4)])
    payloads.put("a" * 32, "interactions", 3, np.ones((2, 2), dtype=np.float32))
    with pytest.raises((PayloadMissingError, StorageUnavailableError)):
        payloads.get_spans("a" * 32, "interactions", 3, (2, 2), [range(2, 6)])
