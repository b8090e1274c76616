"""The files that a request passes through, and the memory that it holds meanwhile."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from services.api.components import Components
from services.api.explain.inline import InlineModels
from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import RowSpec
from services.worker.batch import BatchRunner
from shared.build import ROOT
from shared.explanation import Matrix
from shared.jobs.document import Status
from shared.models.activation.records import Activations
from shared.treeshap.library import find_library
from tests.integration.api.api_client import API_KEY, InProcess, OverHttp

#: Issue 18: at most so many files for a one-row request, and for a batch; RQ's worker, which is not here, takes one.
MOST_FOR_A_ROW, MOST_FOR_A_BATCH = 14, 24

BODY = json.dumps({"model": "diabetes", "rows": [[0.5] * 10]}).encode()
#: Seconds for which the idle server is watched, whose loop turns once a second, and the end of a request.
IDLE_SECONDS, SETTLE_SECONDS = 1.5, 0.05
#: Tools 0 to 2 and 5 are reserved for debuggers, coverage, profilers and optimizers.
TOOL = 4
OURS = tuple(f"{ROOT / folder}/" for folder in ("services", "shared"))
#: Files that no request, rows or values are handed to.
ASIDE = frozenset(
    {
        *("shared/log.py", "shared/metrics.py", "shared/appliance/counters.py"),
        *("shared/settings.py", "shared/jobs/keys.py", "shared/jobs/ids.py", "shared/redis/connection.py"),
        # They only admit or refuse,
        *("services/api/capacity/disk.py", "services/api/capacity/results.py", "shared/redis/capacity.py"),
        *("services/api/http/admission.py", "shared/appliance/status.py", "shared/disk.py"),
        "services/api/http/proxies.py",  # read only the headers of proxies,
        # describe models and sizes,
        *("shared/interactions.py", "shared/models/catalog.py", "shared/models/contract.py"),
        *("shared/models/version.py", "shared/summary/summary.py"),
        # or end workers.
        *("services/worker/exits.py", "shared/memory.py"),
    }
)

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


class Executed:
    """Notes which of our functions run in other threads than the test's."""

    def __init__(self) -> None:
        self._functions: set[str] = set()

    def note(self, code: CodeType, _offset: int) -> None:
        if code.co_filename.startswith(OURS) and threading.current_thread() is not threading.main_thread():
            self._functions.add(f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_qualname}")

    def during(self, act: Callable[[], object]) -> set[str]:
        time.sleep(SETTLE_SECONDS)
        self._functions = set()
        act()
        time.sleep(SETTLE_SECONDS)
        return set(self._functions)

    def files_of(self, act: Callable[[], object]) -> list[str]:
        """Return the files that something always passes through, without those of an idle server."""
        idle = self.during(lambda: time.sleep(IDLE_SECONDS))
        for _ in range(2):
            act()
        # A file of only some of three times belongs to a background thread that woke up meanwhile.
        always = set.intersection(*(self.during(act) for _ in range(3))) - idle
        return sorted({function.partition(":")[0] for function in always} - ASIDE)


@pytest.fixture
def executed() -> Iterator[Executed]:
    made, event = Executed(), sys.monitoring.events.PY_START
    sys.monitoring.use_tool_id(TOOL, "executed files")
    sys.monitoring.register_callback(TOOL, event, made.note)
    sys.monitoring.set_events(TOOL, event)
    yield made
    sys.monitoring.set_events(TOOL, 0)
    sys.monitoring.free_tool_id(TOOL)


@pytest.fixture
def request_over(http: OverHttp) -> Iterator[Callable[..., Any]]:
    """Send requests over one connection, kept alive."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    connection = HTTPConnection("127.0.0.1", http.port, timeout=30)

    def send(method: str, path: str, body: bytes | None = None) -> Any:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status in {200, 202}, content
        return json.loads(content)

    yield send
    connection.close()


def test_a_one_row_request_passes_through_few_files(
    components: Components, opened: InlineModels, executed: Executed, request_over: Callable[..., Any]
) -> None:
    components.inline_models._models.update(opened._models)

    def explain() -> None:
        assert request_over("POST", "/v1/explain", BODY)["job"] is None

    files = executed.files_of(explain)
    assert 5 < len(files) <= MOST_FOR_A_ROW, "\n".join(files)


def test_a_batch_passes_through_few_files(
    components: Components,
    compiled: tuple[Path, Activations],
    runner: BatchRunner,
    executed: Executed,
    request_over: Callable[..., Any],
) -> None:
    shutil.copytree(compiled[0], components.settings.compiled_dir)

    def run() -> None:
        job = request_over("POST", "/v1/jobs", BODY)
        work = threading.Thread(target=runner.run, args=(job["id"], 0))
        work.start()
        work.join()
        assert components.store.get(job["id"]).status is Status.COMPLETED
        request_over("GET", job["links"]["result"])

    files = executed.files_of(run)
    assert 5 < len(files) <= MOST_FOR_A_BATCH, "\n".join(files)


def test_an_upload_has_two_chunks_in_memory_only_until_the_first_is_stored(
    client: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, chunks, alive = RequestBody.chunks, [], []

    def noted(body: RequestBody, spec: RowSpec) -> Iterator[Matrix]:
        for chunk in read(body, spec):
            chunks.append(weakref.ref(chunk))
            alive.append(sum(one() is not None for one in chunks))
            yield chunk
            del chunk

    monkeypatch.setattr(RequestBody, "chunks", noted)
    job = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[0.5] * 10] * 60}).json
    assert (job["rows"], job["batches"]["total"]) == (60, 6)
    assert alive == [1, 2, 1, 1, 1, 1]
