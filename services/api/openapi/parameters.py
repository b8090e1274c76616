"""The parameters, headers and bodies of requests."""

from __future__ import annotations

from typing import Any

from services.api.http.query import MAX_WAIT
from services.api.openapi.building import TEXT, ref
from services.api.openapi.examples import CSV_ROWS, JOB_ID, NDJSON_ROWS
from services.api.resources.examples import EXAMPLES, MAX_EXAMPLES, MAX_NUMBERS
from services.api.resources.jobs import MAX_PAGE, PAGE
from services.api.results.plots.kinds import DISPLAYED, KINDS, MOST_DISPLAYED
from shared.interactions import MOST_TOP_PAIRS
from shared.jobs.document import Method, Status

type Part = dict[str, Any]


def _parameter(place: str, name: str, description: str, schema: Part, **more: Any) -> Part:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


PARAMETERS: dict[str, Part] = {
    "JobId": _parameter("path", "job_id", "The job's id.", TEXT, required=True, example=JOB_ID),
    "ModelName": _parameter(
        "path", "name", "NAME or NAME@VERSION.", TEXT, required=True, example="diabetes@1"
    ),
    "Model": _parameter(
        "query",
        "model",
        "NAME or NAME@VERSION; for JSON in the body. Default: DEFAULT_MODEL, or the only one.",
        TEXT,
    ),
    "Method": _parameter(
        "query",
        "method",
        "What the values are measured against.",
        {"enum": list(Method), "default": Method.TREE_PATH_DEPENDENT},
    ),
    "Interactions": _parameter(
        "query",
        "interactions",
        "Whether what each two features give together comes beside the values. Of tree_path_dependent only.",
        {"type": "boolean", "default": False},
    ),
    "TopPairs": _parameter(
        "query",
        "top_pairs",
        "Of the interactions only so many pairs of each row and output, those of the largest absolute values.",
        {"type": "integer", "minimum": 1, "maximum": MOST_TOP_PAIRS},
    ),
    "WithInteractions": _parameter(
        "query",
        "interactions",
        "false leaves the interactions out, which any representation then can hold.",
        {"type": "boolean", "default": True},
    ),
    "Wait": _parameter(
        "query",
        "wait",
        f"Seconds to wait for the job's end, at most {MAX_WAIT}.",
        {"type": "number", "minimum": 0},
    ),
    "Prefer": _parameter(
        "header",
        "Prefer",
        "`wait=S` (RFC 7240), the same as ?wait=, which goes before it.",
        TEXT,
        example="wait=10",
    ),
    "IdempotencyKey": _parameter(
        "header",
        "Idempotency-Key",
        "The same key and body give the same job again; the same key and another body give 422.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "ContentEncoding": _parameter(
        "header", "Content-Encoding", "gzip, if the body is.", {"enum": ["gzip", "identity"]}
    ),
    "Accept": _parameter("header", "Accept", "The representation of the result; JSON by default.", TEXT),
    "AcceptEncoding": _parameter("header", "Accept-Encoding", "gzip compresses the result.", TEXT),
    "RequestId": _parameter(
        "header",
        "X-Request-Id",
        "An id of your own.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    ),
    "Offset": _parameter(
        "query",
        "offset",
        "The first row of the result to give, from 0.",
        {"type": "integer", "minimum": 0, "default": 0},
    ),
    "RowLimit": _parameter(
        "query", "limit", "How many rows to give; all by default.", {"type": "integer", "minimum": 1}
    ),
    "ExampleLimit": _parameter(
        "query",
        "limit",
        f"Rows to give at most; of wide models fewer, {MAX_NUMBERS} numbers in all.",
        {"type": "integer", "minimum": 1, "maximum": MAX_EXAMPLES, "default": EXAMPLES},
    ),
    "ExamplesAccept": _parameter("header", "Accept", "text/csv (the default) or application/json.", TEXT),
    "File": _parameter("path", "file", "The file's name.", TEXT, required=True, example="console.css"),
    "Status": _parameter("query", "status", "Only jobs in this state.", {"enum": list(Status)}),
    "PageLimit": _parameter(
        "query",
        "limit",
        "Jobs on a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE},
    ),
    "PlotKind": _parameter("path", "kind", "Which plot.", {"enum": list(KINDS)}, required=True),
    "PlotAccept": _parameter("header", "Accept", "image/svg+xml (the default) or image/png.", TEXT),
    "PlotOutput": _parameter("query", "output", "An output's name; the first by default.", TEXT),
    "PlotFeature": _parameter(
        "query", "feature", "Of `dependence`: a feature's name; the weightiest by default.", TEXT
    ),
    "PlotRow": _parameter(
        "query",
        "row",
        "Of `waterfall`: the row's number.",
        {"type": "integer", "minimum": 0, "default": 0},
    ),
    "MaxDisplay": _parameter(
        "query",
        "max_display",
        "Lines of the plot; features beyond them share the last one. Not of `dependence`.",
        {"type": "integer", "minimum": 1, "maximum": MOST_DISPLAYED, "default": DISPLAYED},
    ),
    "Cursor": _parameter("query", "cursor", "Where the page begins: follow `next`.", TEXT),
}


def taking(*names: str) -> list[Part]:
    """Return references to parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in (*names, "RequestId")]


def rows_body() -> Part:
    """Return the request body of rows."""
    return {
        "required": True,
        "content": {
            "application/json": {"schema": ref("Rows")},
            "text/csv": {"schema": TEXT, "example": CSV_ROWS},
            "application/x-ndjson": {"schema": TEXT, "example": NDJSON_ROWS},
            "application/x-npy": {
                "schema": {
                    "type": "string",
                    "contentMediaType": "application/x-npy",
                    "description": "What np.save writes: rows x features, C order, float32 or float64.",
                }
            },
        },
    }
