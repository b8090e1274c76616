import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.api.capacity.results import ResultReservations
from services.api.explain.queued import QueuedExecutor
from shared.jobs.document import Method
from shared.objects.payloads import Payloads
from shared.settings import Settings


def test_an_upload_has_two_chunks_in_memory_only_until_the_first_is_stored(tmp_path: Path) -> None:
    chunks: list[weakref.ref[NDArray[np.float32]]] = []
    alive: list[int] = []

    def read(_spec: Any) -> Iterator[NDArray[np.float32]]:
        for _ in range(6):
            chunk = np.zeros((2, 3), np.float32)
            chunks.append(weakref.ref(chunk))
            alive.append(sum(one() is not None for one in chunks))
            yield chunk
            del chunk

    plan: Any = SimpleNamespace(
        model_id="m@1",
        method=Method.TREE_PATH_DEPENDENT,
        batch_rows=2,
        feature_names=("a", "b", "c"),
        output_names=("margin",),
        fallback=False,
        interactions=None,
        spec=None,
    )
    task: Any = SimpleNamespace(plan=plan, body=SimpleNamespace(chunks=read), request_id="r")
    settings = Settings(data_dir=tmp_path)
    unused: Any = None
    executor = QueuedExecutor(settings, unused, Payloads.open(settings), ResultReservations(None))

    job = executor._store_rows(task, "a" * 32)

    assert (job.rows, job.batches) == (12, 6)
    assert alive == [1, 2, 1, 1, 1, 1]
