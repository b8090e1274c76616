"""The answers that operations share: media types, headers and problems."""

from __future__ import annotations

from typing import Any

from services.api.openapi.building import TEXT, ref
from services.api.openapi.examples import CSV_RESULT, NDJSON_RESULT

type Part = dict[str, Any]

#: What each error status means here.
PROBLEMS = {
    "400": "The body, a header or a parameter cannot be read.",
    "401": "No key, or one that is not known.",
    "403": "The key is known and does not open this.",
    "404": "There is no such job, model or file, or the model has no examples.",
    "406": "None of the media types in Accept can be written.",
    "409": "The job has not ended (Retry-After), has failed (`job-failed`) or was cancelled (`job-cancelled`).",
    "413": "The body, the number of rows or one row's explanation is too large.",
    "415": "The Content-Type or Content-Encoding is none that is read here.",
    "422": "Readable, but wrong: the first 20 faulty cells are in `errors`. Or too wide for a summary (`too-wide`), or the "
    "model (`model-refused`) or what is asked of it (`method-refused`) is refused.",
    "429": "The queue is full.",
    "500": "An engine broke, or its values do not add up to the margin (`engine-fault`); or a fault inside.",
    "503": "Redis, the store, the monitor or every worker is away, the appliance is stopping, or too busy.",
    "507": "The disk is full.",
}
_RETRY = frozenset({"409", "429", "503", "507"})

REQUEST_ID: Part = {"description": "The request's id, the client's own if it sent one.", "schema": TEXT}
_LOCATION: Part = {"description": "The job's address.", "schema": TEXT}
_RETRY_AFTER: Part = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
_CHALLENGE: Part = {"description": "Bearer.", "schema": TEXT}
_APPLIED: Part = {"description": "wait=S, if Prefer was honoured.", "schema": TEXT}


def answer(description: str, content: Part | None = None, headers: Part | None = None) -> Part:
    """Return a response; each has an X-Request-Id."""
    response: Part = {"description": description, "headers": {"X-Request-Id": REQUEST_ID, **(headers or {})}}
    if content is not None:
        response["content"] = content
    return response


def json_of(schema: str) -> Part:
    """Return the content of JSON with a schema."""
    return {"application/json": {"schema": ref(schema)}}


def problem_answers() -> dict[str, Part]:
    """Return the components' responses, by Problem and status."""
    responses = {}
    for status, meaning in PROBLEMS.items():
        headers: Part = {"Retry-After": _RETRY_AFTER} if status in _RETRY else {}
        if status == "401":
            headers["WWW-Authenticate"] = _CHALLENGE
        responses[f"Problem{status}"] = answer(
            meaning, {"application/problem+json": {"schema": ref("Problem")}}, headers
        )
    return responses


def problems(*statuses: int) -> dict[str, Part]:
    """Return references to the problems that an operation may answer with."""
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def job_answer(description: str) -> Part:
    """Return an answer with a job document and its address."""
    return answer(description, json_of("Job"), {"Location": _LOCATION, "Preference-Applied": _APPLIED})


def seen_job_answer(description: str) -> Part:
    """Return an answer with a job document."""
    return answer(description, json_of("Job"), {"Preference-Applied": _APPLIED})


def result_answer(description: str, *, explained: bool = False) -> Part:
    """Return an answer with a result in each of its representations."""
    headers: Part = {
        "Vary": {"description": "Accept, Accept-Encoding.", "schema": TEXT},
        "Content-Encoding": {"description": "gzip, if asked for.", "schema": {"const": "gzip"}},
        "Content-Disposition": {"description": "A file name, for CSV and NPY.", "schema": TEXT},
    }
    if explained:
        headers["Content-Location"] = {"description": "The result's address.", "schema": TEXT}
        headers["Preference-Applied"] = _APPLIED
    return answer(
        description,
        {
            "application/json": {"schema": ref("Result")},
            "text/csv": {
                "schema": {
                    **TEXT,
                    "description": "Of values alone; a result with interactions is no table: 406.",
                },
                "example": CSV_RESULT,
            },
            "application/x-ndjson": {"schema": TEXT, "example": NDJSON_RESULT},
            "application/x-npy": {
                "schema": {
                    "type": "string",
                    "contentMediaType": "application/x-npy",
                    "description": "float32, rows x (features + 1), or rows x outputs x (features + 1), base "
                    "value last: the layout of Booster.predict(pred_contribs=True). With interactions that of pred_interactions: "
                    "each row, or each row and output, is (features + 1) x (features + 1). Pairs (top_pairs) are no array: 406.",
                }
            },
        },
        headers,
    )


def plot_answer() -> Part:
    """Return an answer with a picture."""
    headers: Part = {
        "Vary": {"description": "Accept, Accept-Encoding.", "schema": TEXT},
        "Content-Encoding": {"description": "gzip, if asked for, of SVG.", "schema": {"const": "gzip"}},
        "Content-Disposition": {"description": "A file name.", "schema": TEXT},
    }
    description = "The picture. Of a large job it shows a sample of 2000 rows, where it shows single rows."
    return answer(
        description,
        {
            "image/svg+xml": {"schema": TEXT},
            "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
        },
        headers,
    )
