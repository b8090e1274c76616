"""An engine that breaks or is wrong while it explains a request in the api's process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.api.components import Components
from shared.build import ROOT
from shared.engines.checks import ADVICE
from shared.explanation import Explanation
from shared.jobs.document import Status
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import State
from shared.models.catalog import ModelCatalog
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import find_library
from tests.integration.api.api_client import InProcess

type Matrix = NDArray[np.float32]

BODY = {"model": "diabetes", "rows": [[0.5] * 10, [None] * 10, [1.5] * 10]}

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    version = ModelCatalog.load(ROOT / "models").get("diabetes")
    record = activate_version(version, folder, Limits(memory_mb=600, seconds=60), "key")
    assert record.state is State.READY
    return folder


@pytest.fixture(autouse=True)
def opened(components: Components, compiled: Path) -> None:
    shutil.copytree(compiled, components.settings.compiled_dir, dirs_exist_ok=True)
    components.inline_models.open()


def counted(components: Components, *name: str) -> float:
    components.counters.flush()
    return components.counters.read().get(name, 0.0)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Matrix], None]], None]:
    """Have a function change what the compiled engine gives."""

    def spoil(change: Callable[[Matrix], None]) -> None:
        explain = Explainer.explain

        @wraps(explain)
        def spoilt(explainer: Explainer, rows: Matrix) -> Explanation:
            result = explain(explainer, rows)
            change(result.array)
            return result

        monkeypatch.setattr(Explainer, "explain", spoilt)

    return spoil


def be_off(result: Matrix) -> None:
    result[1, 0, 4] += 500.0


def break_off(_result: Matrix) -> None:
    raise RuntimeError("the tables are torn")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            be_off,
            "engine's values of model diabetes@1 are 5e+02 off their margin in row 1; no result was stored.",
        ),
        (
            break_off,
            "engine failed while it explained rows of model diabetes@1 (RuntimeError: the tables are torn)",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/explain", "/v1/jobs?wait=5"])
def test_the_request_fails_with_the_reason_and_nothing_is_kept(
    client: InProcess,
    components: Components,
    spoil: Callable[[Callable[[Matrix], None]], None],
    nothing_is_left: Callable[[], None],
    *,
    path: str,
    change: Callable[[Matrix], None],
    said: str,
) -> None:
    spoil(change)
    reply = client.post_json(path, BODY)
    assert (reply.status, reply.slug) == (500, "engine-fault")
    assert said in reply.json["detail"]
    assert ADVICE in reply.json["detail"]
    nothing_is_left()
    assert counted(components, "engine_faults_total", "diabetes@1") == 1
    assert counted(components, "jobs_total", "completed") == 0
    assert counted(components, "largest_residual", "diabetes@1") == 0


def test_the_largest_residual_is_counted_and_stands_in_the_job_that_is_kept(
    client: InProcess, components: Components, spoil: Callable[[Callable[[Matrix], None]], None]
) -> None:
    def be_off_a_little(result: Matrix) -> None:
        result[:, 0, -1] *= np.float32(1 + 5e-5)

    assert client.post_json("/v1/explain", BODY).status == 200
    before = counted(components, "largest_residual", "diabetes@1")
    assert 0 < before < 3e-6
    spoil(be_off_a_little)
    reply: Any = client.post_json("/v1/jobs?wait=5", BODY)
    assert reply.json["status"] == Status.COMPLETED
    residual = reply.json["largest_residual"]
    assert residual == pytest.approx(5e-5, rel=0.05)
    assert [job.largest_residual for job in components.store.page(None, 10, None).jobs] == [residual]
    assert counted(components, "largest_residual", "diabetes@1") == residual
