import pytest

from ops.verify.jobs import residual_of
from ops.verify.outcome import FailedError

JOB = {"id": "0199f3a0c2d51b7e4f60a9c83d2e5f17", "model": "wine@1"}


@pytest.mark.parametrize("residual", [0.0, 3e-7, 1e-4])
def test_a_residual_that_is_allowed_is_returned(residual: float) -> None:
    assert residual_of({**JOB, "largest_residual": residual}) == residual


def test_a_residual_that_is_too_large_names_model_job_and_number() -> None:
    with pytest.raises(
        FailedError, match=r"wine@1 .* job 0199f3a0\w+ is 2e-04, and 1e-04 is allowed"
    ) as caught:
        residual_of({**JOB, "largest_residual": 2e-4})
    assert caught.value.measured == "largest residual 2e-04"


def test_a_completed_job_that_nobody_checked_is_a_fault() -> None:
    with pytest.raises(FailedError, match="its sums were not checked"):
        residual_of({**JOB, "largest_residual": None})


def test_an_earlier_version_knows_of_no_residual() -> None:
    assert residual_of(JOB) is None
