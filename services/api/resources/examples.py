"""/v1/models/NAME/examples: rows to try a model with."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from services.api.authentication import Access
from services.api.parts import Parts
from services.api.query import Query
from services.api.writers.csv_result import quote_line
from services.api.writers.negotiation import choose_media_type
from services.api.writers.number_texts import dump_items
from shared.errors import ModelFaultError, NotFoundError
from shared.models.version import ModelVersion

#: Rows by default and at most, and the numbers that one answer holds at most: it is made whole.
EXAMPLES, MAX_EXAMPLES, MAX_NUMBERS = 100, 10_000, 131_072
CSV, JSON = "text/csv", "application/json"


class NoExamplesError(NotFoundError):
    """The model was added without example rows."""

    slug = "no-examples"
    title = "This model has no example rows"


class ExamplesResource:
    """The first example rows of a model, as a body that could be sent to /v1/jobs."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any, name: str) -> None:
        """Answer with a CSV file or, if that is asked for, JSON."""
        limit = Query(req, "limit").whole("limit", EXAMPLES, 1, MAX_EXAMPLES)
        version = self._parts.catalog.get(name)
        media_type = choose_media_type(req.get_header("Accept"), (CSV, JSON), "Example rows")
        rows = _read_rows(version, limit)
        resp.content_type = media_type
        resp.set_header("Vary", "Accept")
        resp.data = _as_csv(version, rows) if media_type == CSV else _as_json(version, rows)

    on_head = on_get


def _read_rows(version: ModelVersion, limit: int) -> NDArray[np.float32]:
    """Return the first rows; of a file however large only these are read."""
    if version.examples_path is None:
        raise NoExamplesError(
            f"{version.id} was added without example rows: `python -m ops.models add` takes --examples."
        )
    most = max(1, MAX_NUMBERS // len(version.features))
    try:
        matrix = np.load(version.examples_path, mmap_mode="r", allow_pickle=False)
        return np.array(matrix[: min(limit, most)], dtype=np.float32)
    except (OSError, ValueError) as fault:
        raise ModelFaultError(f"The example rows of {version.id} cannot be read: {fault}") from fault


def _as_csv(version: ModelVersion, rows: NDArray[np.float32]) -> bytes:
    lines = dump_items(rows)[1:-1].replace(b"null", b"").replace(b"],[", b"\r\n")
    return b"%b\r\n%b\r\n" % (quote_line(version.features), lines)


def _as_json(version: ModelVersion, rows: NDArray[np.float32]) -> bytes:
    return b'{"model":%b,"rows":[%b]}' % (orjson.dumps(version.id), dump_items(rows))
