"""Bad input of clients: its status, a helpful message, and no trace left behind."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable

import numpy as np
import pytest

from services.api.components import Components
from tests.integration.api.api_client import InProcess

NAMES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
HEADER = ",".join(NAMES)
GOOD_LINE = ",".join(["1"] * 10)
JSON, CSV, NDJSON, NPY = "application/json", "text/csv", "application/x-ndjson", "application/x-npy"


def rows(*lines: object) -> bytes:
    return json.dumps({"model": "diabetes", "rows": lines}).encode()


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def named(**changes: object) -> dict[str, object]:
    return {**dict.fromkeys(NAMES, 1.0), **changes}


GOOD = [1.0] * 10
LYING = npy(np.ones((3, 10), np.float32)).replace(b"(3, 10)", b"(9, 10)")
#: what is sent → status, problem, words of the detail
CASES: dict[str, tuple[str, bytes, int, str, str]] = {
    "too few columns": (JSON, rows(GOOD, [1.0] * 9), 422, "invalid-rows", "row 1"),
    "too many columns": (JSON, rows([1.0] * 11), 422, "invalid-rows", "row 0"),
    "unknown feature": (JSON, rows(named(height=1)), 422, "invalid-rows", "height"),
    "missing feature": (JSON, rows({n: 1 for n in NAMES if n != "bmi"}), 422, "invalid-rows", "bmi"),
    "doubled feature": (
        JSON,
        rows(named()).replace(b'"sex"', b'"age"'),
        422,
        "invalid-rows",
        "age",
    ),
    "text for a number": (JSON, rows(GOOD, ["old", *GOOD[1:]]), 422, "invalid-rows", "'age'"),
    "array for a number": (NDJSON, b"[[1]" + b",1" * 9 + b"]", 422, "invalid-rows", "'age'"),
    "beyond float32": (JSON, rows([1e39, *GOOD[1:]]), 422, "invalid-rows", "float32"),
    "no rows": (JSON, rows(), 422, "invalid-rows", "no rows"),
    "empty JSON body": (JSON, b"", 400, "unreadable-body", "empty"),
    "cut off JSON": (JSON, rows(GOOD)[:-20], 400, "unreadable-body", ""),
    "ten levels deep": (JSON, rows([[[[[[[[[[1]]]]]]]]]]), 422, "invalid-rows", "row 0"),
    "not an object": (JSON, b"[1]", 422, "unprocessable", "JSON object"),
    "unknown member": (JSON, b'{"rows": [[1]], "mdl": "x"}', 422, "unprocessable", "mdl"),
    "no model named": (JSON, b'{"rows": [[1]]}', 422, "unprocessable", "breast-cancer, diabetes, wine"),
    "a path as the model": (
        JSON,
        b'{"model": "../../etc/passwd", "rows": [[1]]}',
        404,
        "model-not-found",
        "breast-cancer@1",
    ),
    "unknown model": (JSON, b'{"model": "diabetes@7", "rows": [[1]]}', 404, "model-not-found", "diabetes@1"),
    "unknown method": (
        JSON,
        b'{"model": "diabetes", "method": "guess", "rows": [[1]]}',
        422,
        "unprocessable",
        "interventional",
    ),
    "empty CSV": (CSV, b"", 400, "unreadable-body", "empty"),
    "CSV header alone": (CSV, HEADER.encode() + b"\n", 422, "invalid-rows", "no rows"),
    "CSV without a feature": (CSV, f"{HEADER[4:]}\n1\n".encode(), 422, "invalid-rows", "age"),
    "CSV with a feature twice": (CSV, f"{HEADER},age\n1\n".encode(), 422, "invalid-rows", "age"),
    "CSV with text": (
        CSV,
        f"{HEADER}\n{GOOD_LINE}\nold{GOOD_LINE[1:]}\n".encode(),
        422,
        "invalid-rows",
        "row 1, column 'age'",
    ),
    "CSV with infinity": (CSV, f"{HEADER}\ninf{GOOD_LINE[1:]}\n".encode(), 422, "invalid-rows", "infinity"),
    "CSV with short line": (CSV, f"{HEADER}\n1,2\n".encode(), 422, "invalid-rows", "row 0"),
    "CSV fault in the second batch": (
        CSV,
        "\n".join([HEADER, *[GOOD_LINE] * 15, "x" + GOOD_LINE]).encode(),
        422,
        "invalid-rows",
        "row 15",
    ),
    "CSV with a million columns": (CSV, b"c," * 400_000 + b"c\n1\n", 422, "invalid-rows", ""),
    "NDJSON cut off": (NDJSON, b"[1,2", 400, "unreadable-body", ""),
    "NPY of objects": (
        NPY,
        npy(np.array([[None] * 10], dtype=object), pickled=True),
        422,
        "invalid-rows",
        "objects",
    ),
    "NPY of texts": (NPY, npy(np.full((3, 10), "old")), 422, "invalid-rows", "integers or booleans"),
    "NPY of an integer that float32 changes": (
        NPY,
        npy(np.full((3, 10), 2**24 + 1)),
        422,
        "invalid-rows",
        "16777217",
    ),
    "CSV with an index": (CSV, f",{HEADER}\n0,{GOOD_LINE}\n".encode(), 422, "invalid-rows", "index=False"),
    "CSV with a comma too many": (
        CSV,
        f"{HEADER},\n{GOOD_LINE},\n".encode(),
        422,
        "invalid-rows",
        "remove the comma",
    ),
    "CSV with quoted semicolons": (
        CSV,
        '";"'.join(["", *NAMES, ""])[2:-2].encode() + b"\n1;2\n",
        422,
        "invalid-rows",
        "sep=",
    ),
    "CSV without a header": (CSV, f"{GOOD_LINE}\n".encode(), 422, "invalid-rows", "'age', 'sex'"),
    "NPY of 3 dimensions": (NPY, npy(np.ones((1, 1, 10), np.float32)), 422, "invalid-rows", "3 dimensions"),
    "NPY with a lying header": (NPY, LYING, 400, "unreadable-body", "9 rows"),
    "NPY of another width": (NPY, npy(np.ones((2, 9), np.float32)), 422, "invalid-rows", "9 columns"),
    "NPY with infinity": (NPY, npy(np.full((2, 10), np.inf, np.float32)), 422, "invalid-rows", "infinity"),
    "NPY that is an archive": (NPY, b"PK\x03\x04 something else", 400, "unreadable-body", "NPY"),
    "too many rows": (NPY, npy(np.ones((2001, 10), np.float32)), 413, "too-many-rows", "2000"),
}


@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/explain"])
@pytest.mark.parametrize("case", list(CASES))
def test_bad_input_is_refused_with_a_message_that_helps(
    client: InProcess, nothing_is_left: Callable[[], None], case: str, address: str
) -> None:
    content_type, body, status, slug, words = CASES[case]
    query = "" if content_type == JSON else "?model=diabetes"
    reply = client.post(address + query, body, content_type)
    assert (reply.status, reply.slug) == (status, slug), reply.body
    assert words in reply.detail, reply.detail
    nothing_is_left()


def test_faulty_cells_are_named_by_row_and_column(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows(GOOD, ["old", *GOOD[1:]], [*GOOD[:9], "x"]))
    assert [(error["row"], error["column"]) for error in reply.json["errors"]] == [(1, "age"), (2, "s6")]


@pytest.mark.parametrize("content_type", ["", "application/xml", "text/csv; charset=utf-16"])
def test_another_media_type_is_refused(
    client: InProcess, nothing_is_left: Callable[[], None], content_type: str
) -> None:
    reply = client.post("/v1/jobs?model=diabetes", b"<a/>", content_type)
    assert (reply.status, reply.slug) == (415, "unsupported-media-type")
    nothing_is_left()


def test_another_encoding_is_refused(client: InProcess) -> None:
    reply = client.post("/v1/jobs?model=diabetes", b"x", CSV, Content_Encoding="br")
    assert (reply.status, reply.slug) == (415, "unsupported-media-type")


def test_broken_gzip_is_refused(client: InProcess, nothing_is_left: Callable[[], None]) -> None:
    for body in (b"no gzip", gzip.compress(f"{HEADER}\n{GOOD_LINE}\n".encode())[:-9]):
        reply = client.post("/v1/jobs?model=diabetes", body, CSV, Content_Encoding="gzip")
        assert (reply.status, reply.slug) == (400, "unreadable-body")
    nothing_is_left()


def test_a_gzip_bomb_is_refused(client: InProcess, nothing_is_left: Callable[[], None]) -> None:
    bomb = gzip.compress(b"1" * (64 * 2**20))
    reply = client.post("/v1/jobs?model=diabetes", bomb, CSV, Content_Encoding="gzip")
    assert (reply.status, reply.slug) == (413, "body-too-large")
    nothing_is_left()


def test_options_that_contradict_each_other_are_refused(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs?model=wine", rows(GOOD))
    assert (reply.status, reply.slug) == (422, "unprocessable")
    assert client.post_json("/v1/jobs?model=diabetes", rows(GOOD)).status == 202


def test_an_unknown_query_parameter_is_refused(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs?modle=wine", rows(GOOD))
    assert (reply.status, reply.slug) == (400, "bad-parameter")
    assert "model" in reply.detail


def test_interventional_needs_background_rows(client: InProcess, components: Components) -> None:
    version = components.catalog.get("diabetes")
    object.__setattr__(version.contract, "background", None)
    reply = client.post_json("/v1/jobs?method=interventional", rows(GOOD))
    assert (reply.status, reply.slug) == (422, "method-refused")
    assert "background" in reply.detail


def test_the_default_model_is_used_when_none_is_named(client: InProcess, components: Components) -> None:
    object.__setattr__(components.settings, "default_model", "diabetes")
    reply = client.post_json("/v1/jobs", {"rows": [GOOD]})
    assert reply.json["model"] == "diabetes@1"
