"""Bad input of clients: its status, a helpful message, and no trace left behind.

tests/unit/api/rows has every fault that a reader sees; here is one of each way to refuse a request.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable

import numpy as np

from services.api.components import Components
from services.api.explain.inline import InlineModels
from tests.integration.api.api_client import CSV, JSON, NDJSON, NPY, InProcess

HEADER = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6"
LINE = ",".join(["1"] * 10)
GOOD = [1.0] * 10


def rows(*lines: object, **more: object) -> bytes:
    return json.dumps({"model": "diabetes", "rows": lines, **more}).encode()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


INVALID, UNREADABLE, UNPROCESSABLE = (422, "invalid-rows"), (400, "unreadable-body"), (422, "unprocessable")
NOT_FOUND, TOO_LARGE = (404, "model-not-found"), (413, "body-too-large")
TYPE, PARAMETER = (415, "unsupported-media-type"), (400, "bad-parameter")

#: Refusal, words of its detail, content type, and body
BODIES: list[tuple[tuple[int, str], str, str, bytes]] = [
    (INVALID, "row 1", JSON, rows(GOOD, [1.0] * 9)),
    (INVALID, "'age'", NDJSON, b"[[1]" + b",1" * 9 + b"]"),
    (INVALID, "float32", JSON, rows([1e39, *GOOD[1:]])),
    (INVALID, "no rows", JSON, rows()),
    (UNREADABLE, "empty", JSON, b""),
    (UNREADABLE, "", JSON, rows(GOOD)[:-20]),
    (UNPROCESSABLE, "JSON object", JSON, b"[1]"),
    (UNPROCESSABLE, "breast-cancer, diabetes, wine", JSON, b'{"rows": [[1]]}'),
    (UNPROCESSABLE, "interventional", JSON, rows([1], method="guess")),
    (NOT_FOUND, "breast-cancer@1", JSON, b'{"model": "../../etc/passwd", "rows": [[1]]}'),
    (NOT_FOUND, "diabetes@1", JSON, b'{"model": "diabetes@7", "rows": [[1]]}'),
    (INVALID, "row 15", CSV, "\n".join([HEADER, *[LINE] * 15, "x" + LINE]).encode()),  # in the second batch
    (INVALID, "", CSV, b"c," * 400_000 + b"c\n1\n"),
    (INVALID, "'age', 'sex'", CSV, f"{LINE}\n".encode()),
    (INVALID, "16777217", NPY, npy(np.full((3, 10), 2**24 + 1))),
    (UNREADABLE, "9 rows", NPY, npy(np.ones((3, 10), np.float32)).replace(b"(3, 10)", b"(9, 10)")),
    ((413, "too-many-rows"), "2000", NPY, npy(np.ones((2001, 10), np.float32))),
    *((TYPE, "", other, b"<a/>") for other in ("", "application/xml", "text/csv; charset=utf-16")),
]
#: Refusal, words of its detail, query, headers, and body
REQUESTS: list[tuple[tuple[int, str], str, str, dict[str, str], bytes]] = [
    (TYPE, "", "model=diabetes", {"Content_Encoding": "br"}, b"x"),
    (UNREADABLE, "", "model=diabetes", {"Content_Encoding": "gzip"}, b"no gzip"),
    (UNREADABLE, "", "model=diabetes", {"Content_Encoding": "gzip"}, gzip.compress(HEADER.encode())[:-9]),
    (TOO_LARGE, "", "model=diabetes", {"Content_Encoding": "gzip"}, gzip.compress(b"1" * (2 * 2**20))),
    (UNPROCESSABLE, "", "model=wine", {}, rows(GOOD)),  # the body names another one
    (PARAMETER, "model", "modle=wine", {}, rows(GOOD)),
    *((PARAMETER, "", f"wait={wait}", {}, rows(GOOD)) for wait in ("soon", "-1", "nan", "", "1&wait=2")),
    (PARAMETER, "", "offset=4", {}, rows(GOOD)),
    *((PARAMETER, "", "", {"Idempotency_Key": key}, rows(GOOD)) for key in ("", "k" * 256)),
]


def test_bad_input_is_refused_alike_inline_and_for_the_queue_with_a_message_that_helps(
    client: InProcess,
    components: Components,
    opened: InlineModels,
    nothing_is_left: Callable[[], None],
) -> None:
    components.inline_models._models.update(opened._models)
    for address in ("/v1/jobs?", "/v1/explain?"):
        for refusal, words, content_type, body in BODIES:
            query = "" if content_type == JSON else "&model=diabetes"
            reply = client.post(address + query, body, content_type)
            assert reply.refusal == refusal, (body[:100], reply.body)
            assert words in reply.detail, reply.detail
        for refusal, words, query, headers, body in REQUESTS:
            reply = client.post(f"{address}&{query}", body, JSON if body[:1] == b"{" else CSV, **headers)
            assert reply.refusal == refusal, (query, headers, reply.body)
            assert words in reply.detail, reply.detail
    nothing_is_left()


def test_faulty_cells_are_named_by_row_and_column(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows(GOOD, ["old", *GOOD[1:]], [*GOOD[:9], "x"]))
    assert [(error["row"], error["column"]) for error in reply.json["errors"]] == [(1, "age"), (2, "s6")]


def test_a_model_may_be_named_twice_or_by_default(client: InProcess, components: Components) -> None:
    assert client.post_json("/v1/jobs?model=diabetes", rows(GOOD)).status == 202
    object.__setattr__(components.settings, "default_model", "diabetes")
    assert client.post_json("/v1/jobs", {"rows": [GOOD]}).json["model"] == "diabetes@1"


def test_interventional_needs_background_rows(client: InProcess, components: Components) -> None:
    object.__setattr__(components.catalog.get("diabetes").contract, "background", None)
    reply = client.post_json("/v1/jobs?method=interventional", rows(GOOD))
    assert reply.refusal == (422, "method-refused")
    assert "background" in reply.detail
