"""Rows in every format that Shapbox reads, and its JSON results as arrays."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ops.reached import Reached
from shapbox import Response
from tests.support.trained_case import codes_of

type Values = NDArray[np.float64]
type Body = tuple[str, bytes]

#: The formats that `body_of` writes.
FORMATS = ("csv", "json arrays", "json objects", "ndjson arrays", "ndjson objects", "npy")


@dataclass(frozen=True)
class Explained:
    """A result: `contributions` (rows, outputs, features + 1), base value last, and `margins`."""

    job: str | None
    contributions: Values
    margins: Values

    def residual(self) -> float:
        """Return how far the values are from adding up to the margins, at most."""
        return float(np.abs(self.contributions.sum(axis=2) - self.margins).max())


def body_of(rows: Any, form: str, **options: Any) -> Body:
    """Write a DataFrame as its owner would; `options` go into a JSON body."""
    objects = json.loads(rows.to_json(orient="records", double_precision=15))
    arrays = [list(one.values()) for one in objects]
    match form:
        case "csv":
            return "text/csv", rows.to_csv(index=False).encode()
        case "json arrays":
            return "application/json", json.dumps({"rows": arrays, **options}).encode()
        case "json objects":
            return "application/json", json.dumps({"rows": objects, **options}).encode()
        case "ndjson arrays":
            return "application/x-ndjson", "\n".join(map(json.dumps, arrays)).encode()
        case "ndjson objects":
            return "application/x-ndjson", "\n".join(map(json.dumps, objects)).encode()
        case _:
            file = io.BytesIO()
            np.save(file, codes_of(rows))
            return "application/x-npy", file.getvalue()


def post(reached: Reached, model: str, rows: Any, form: str, **options: Any) -> Response:
    """Ask for an explanation of rows, and wait for it."""
    if form.startswith("json"):
        content_type, body = body_of(rows, form, model=model, **options)
        return post_bytes(reached, "", content_type, body)
    content_type, body = body_of(rows, form)
    given = {"model": model, **options}
    query = "&".join(f"{name}={quote(str(value).lower())}" for name, value in given.items())
    return post_bytes(reached, f"?{query}", content_type, body)


def post_bytes(reached: Reached, query: str, content_type: str, body: bytes) -> Response:
    """Send a body as it is, and wait for its explanation."""
    headers = {"Content-Type": content_type, "Accept": "application/json", "Prefer": "wait=60"}
    return reached.call("POST", f"/v1/explain{query}", body, headers=headers)


def explained(answer: Response) -> Explained:
    """Read a result."""
    document = answer.json()
    assert answer.status == 200, document
    values = np.array(document["values"], np.float64)
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    base_values = np.array(document["base_values"], np.float64).reshape(len(values), -1)
    margins = np.array(document["predictions"], np.float64).reshape(len(values), -1)
    whole = np.concatenate([values.swapaxes(1, 2), base_values[:, :, np.newaxis]], axis=2)
    return Explained(document["job"], whole, margins)


def distance(found: Values, wanted: NDArray[np.floating[Any]]) -> float:
    """Return the largest difference, relative to the largest value of its row and output."""
    assert found.shape == wanted.shape
    largest = np.abs(wanted).max(axis=-1, keepdims=True)
    return float((np.abs(found - wanted) / np.where(largest == 0, 1, largest)).max())
