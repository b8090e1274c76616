"""The document: every path with its operations."""

from __future__ import annotations

from typing import Any

from services.api.openapi.answers import (
    answer,
    job_answer,
    json_of,
    plot_answer,
    problem_answers,
    problems,
    result_answer,
    seen_job_answer,
)
from services.api.openapi.building import TEXT, ref
from services.api.openapi.examples import CSV_ROWS
from services.api.openapi.parameters import PARAMETERS, rows_body, taking
from services.api.openapi.schemas import schemas
from services.api.resources.console_files import MEDIA_TYPES
from shared.build import VERSION

type Part = dict[str, Any]

#: What reading any address under /v1 can come to.
_READING = (400, 401, 403, 503)
#: What sending rows can come to.
_SENDING = (*_READING, 404, 413, 415, 422, 429, 500, 507)
#: What can be said of rows that are sent.
_OPTIONS = ("Model", "Method", "Interactions", "TopPairs")
_OPEN: list[Part] = []
_DESCRIPTION = (
    "Rows in, exact SHAP values of XGBoost models out. Every GET answers HEAD too. Times are RFC 3339 UTC. "
    "Errors are RFC 9457 problem documents. Paths that are not listed answer 404, methods that are not, 405 "
    "with Allow."
)


def openapi_document() -> Part:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shapbox", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "explain", "description": "Jobs and their results"},
            {"name": "models", "description": "What rows can be explained with"},
            {"name": "operation", "description": "Health, figures and this document"},
        ],
        "security": [{"key": []}],
        "paths": {**_job_paths(), **_model_paths(), **_worker_paths(), **_operation_paths()},
        "components": {
            "schemas": schemas(),
            "parameters": PARAMETERS,
            "responses": problem_answers(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "API_KEY or ADMIN_API_KEY."},
                "metrics": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "METRICS_TOKEN or ADMIN_API_KEY.",
                },
                "admin": {"type": "http", "scheme": "bearer", "description": "ADMIN_API_KEY."},
            },
        },
    }


def _operation(name: str, tag: str, summary: str, responses: Part, **more: Any) -> Part:
    more.setdefault("parameters", taking())
    return {"operationId": name, "tags": [tag], "summary": summary, **more, "responses": responses}


def _job_paths() -> Part:
    return {
        "/v1/jobs": {"post": _submit(), "get": _list_jobs()},
        "/v1/jobs/{job_id}": {"get": _get_job(), "delete": _delete_job()},
        "/v1/jobs/{job_id}/result": {"get": _get_result()},
        "/v1/jobs/{job_id}/summary": {"get": _get_summary()},
        "/v1/jobs/{job_id}/plots/{kind}": {"get": _get_plot()},
        "/v1/explain": {"post": _explain()},
    }


def _submit() -> Part:
    responses = {
        "200": job_answer("The job has ended within the time waited for."),
        "202": job_answer("The job is accepted, and will not be lost."),
        **problems(*_SENDING),
    }
    parameters = taking(*_OPTIONS, "Wait", "Prefer", "IdempotencyKey", "ContentEncoding")
    summary = "Submit rows as a job"
    return _operation(
        "submitJob", "explain", summary, responses, parameters=parameters, requestBody=rows_body()
    )


def _explain() -> Part:
    responses = {
        "200": result_answer("The values.", explained=True),
        "202": job_answer("The values are not there yet; the job goes on."),
        **problems(*_SENDING, 406, 409),
    }
    parameters = taking(
        *(*_OPTIONS, "Wait", "Prefer", "IdempotencyKey", "ContentEncoding"),
        *("Accept", "AcceptEncoding", "Offset", "RowLimit"),
    )
    summary = "Submit rows and get their values in one request (waits 30 s by default)"
    return _operation(
        "explain", "explain", summary, responses, parameters=parameters, requestBody=rows_body()
    )


def _list_jobs() -> Part:
    responses = {"200": answer("A page of jobs, newest first.", json_of("JobList")), **problems(*_READING)}
    parameters = taking("Status", "PageLimit", "Cursor")
    return _operation("listJobs", "explain", "List jobs", responses, parameters=parameters)


def _get_job() -> Part:
    responses = {"200": seen_job_answer("The job as it is now."), **problems(*_READING, 404)}
    parameters = taking("JobId", "Wait", "Prefer")
    return _operation("getJob", "explain", "Look at a job, or wait for it", responses, parameters=parameters)


def _delete_job() -> Part:
    responses = {"204": answer("Done."), **problems(*_READING, 404)}
    summary = "Cancel a job, or delete one that has ended"
    description = (
        "An active job is cancelled: its rows and results are deleted, and its document stays, as cancelled, "
        "for RESULT_TTL_HOURS. Of a job that has ended, all is deleted."
    )
    return _operation(
        "deleteJob", "explain", summary, responses, description=description, parameters=taking("JobId")
    )


def _get_result() -> Part:
    responses = {"200": result_answer("The values, in input order."), **problems(*_READING, 404, 406, 409)}
    parameters = taking("JobId", "Accept", "AcceptEncoding", "Offset", "RowLimit", "WithInteractions")
    return _operation("getResult", "explain", "Get a job's values", responses, parameters=parameters)


def _get_summary() -> Part:
    responses = {
        "200": answer("Over all rows, the weightiest features first.", json_of("Summary")),
        **problems(*_READING, 404, 409, 422),
    }
    summary = "What each feature's SHAP values come to"
    return _operation("getSummary", "explain", summary, responses, parameters=taking("JobId"))


def _get_plot() -> Part:
    responses = {"200": plot_answer(), **problems(*_READING, 404, 406, 409, 422)}
    parameters = taking(
        *("JobId", "PlotKind", "PlotAccept", "AcceptEncoding"),
        *("PlotOutput", "PlotFeature", "PlotRow", "MaxDisplay"),
    )
    return _operation(
        "getPlot", "explain", "Get a job's values as a picture", responses, parameters=parameters
    )


def _model_paths() -> Part:
    one = {"200": answer("The model, refused or not.", json_of("Model")), **problems(400, 401, 403, 404)}
    every = {
        "200": answer("All versions of all models, refused ones too.", json_of("ModelList")),
        **problems(400, 401, 403),
    }
    return {
        "/v1/models": {"get": _operation("listModels", "models", "List the models", every)},
        "/v1/models/{name}": {
            "get": _operation("getModel", "models", "Look at a model", one, parameters=taking("ModelName"))
        },
        "/v1/models/{name}/examples": {"get": _get_examples()},
    }


def _get_examples() -> Part:
    content: Part = {
        "text/csv": {"schema": TEXT, "example": CSV_ROWS},
        "application/json": {"schema": ref("Rows")},
    }
    vary: Part = {"Vary": {"description": "Accept.", "schema": TEXT}}
    responses = {
        "200": answer("Rows, as a body that could be sent to /v1/jobs.", content, vary),
        **problems(400, 401, 403, 404, 406, 422),
    }
    summary = "Get rows to try a model with (CSV by default)"
    parameters = taking("ModelName", "ExampleLimit", "ExamplesAccept")
    return _operation("getExamples", "models", summary, responses, parameters=parameters)


def _worker_paths() -> Part:
    admin: list[Part] = [{"admin": []}]
    workers = {"200": answer("Those that say that they live.", json_of("WorkerList")), **problems(*_READING)}
    asked = {"202": answer("It is asked for.", json_of("Recycle")), **problems(*_READING)}
    description = (
        "The largest worker finishes its batch and leaves, and a fresh one takes its place. Nothing is lost, and "
        'worker_recycles_total{reason="admin"} counts it. While one wish is pending another one is the same.'
    )
    summary = "Have a worker replaced by a fresh one"
    return {
        "/v1/workers": {"get": _operating("listWorkers", "List the living workers", workers, admin)},
        "/v1/workers/recycle": {
            "post": _operating("recycleWorker", summary, asked, admin, description=description)
        },
    }


def _operation_paths() -> Part:
    health = {
        "200": answer("The appliance is well, or heals itself.", json_of("Health")),
        "503": answer("It needs a restart.", json_of("Health")),
    }
    retry: Part = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    ready = {
        "200": answer("New work can be served.", json_of("Readiness")),
        "503": answer("New work cannot be served now.", json_of("Readiness"), retry),
    }
    metrics = {"200": answer("Prometheus's text format.", {"text/plain": {"schema": TEXT}})}
    metrics |= problems(401, 403, 503)
    version = {"200": answer("The versions.", json_of("Version"))}
    openapi = {"200": answer("OpenAPI 3.1.", {"application/json": {"schema": {"type": "object"}}})}
    docs = {"200": answer("A page that loads nothing from elsewhere.", {"text/html": {"schema": TEXT}})}
    appliance = {"200": answer("How it is now.", json_of("Appliance")), **problems(400, 401, 403)}
    page = {"text/html": {"schema": TEXT}}
    file: Part = {name.partition(";")[0]: {"schema": TEXT} for name in MEDIA_TYPES.values()}
    unchanged = answer("The client has it (If-None-Match).")
    console = {"200": answer("A page that loads nothing from elsewhere.", page), "304": unchanged}
    console_file = {"200": answer("One of its files.", file), "304": unchanged, **problems(404)}
    return {
        "/v1/appliance": {
            "get": _operation("getAppliance", "operation", "Watch the whole appliance", appliance)
        },
        "/healthz": {"get": _operating("getHealth", "Whether a restart is needed", health, _OPEN)},
        "/readyz": {"get": _operating("getReadiness", "Whether new work can be served", ready, _OPEN)},
        "/metrics": {"get": _operating("getMetrics", "Figures for Prometheus", metrics, [{"metrics": []}])},
        "/version": {"get": _operating("getVersion", "What this build is", version, _OPEN)},
        "/openapi.json": {"get": _operating("getOpenApi", "This document", openapi, _OPEN)},
        "/docs": {"get": _operating("getDocs", "This document, to read", docs, _OPEN)},
        "/": {"get": _operating("getConsole", "The console, for people", console, _OPEN)},
        "/console/{file}": {
            "get": _operating(
                "getConsoleFile", "What the console loads", console_file, _OPEN, parameters=taking("File")
            )
        },
    }


def _operating(name: str, summary: str, responses: Part, security: list[Part], **more: Any) -> Part:
    return _operation(name, "operation", summary, responses, security=security, **more)
