"""The schemas of what goes in and comes out (JSON Schema 2020-12, as OpenAPI 3.1 has it)."""

from __future__ import annotations

from services.api.openapi.building import (
    COUNT,
    FLAG,
    NUMBERS,
    SECONDS,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    or_null,
    record,
    ref,
)
from services.api.openapi.examples import APPLIANCE, JOB, JOB_ID, PROBLEM, RESULT, ROWS
from services.api.openapi.model_schemas import model_schemas
from shared.interactions import MOST_TOP_PAIRS
from shared.jobs.document import Method, Status

TOP_PAIRS: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_TOP_PAIRS}


def schemas() -> dict[str, Schema]:
    """Return all schemas by name."""
    return {
        "Rows": _rows(),
        "Job": _job(),
        "JobList": record({"jobs": {"type": "array", "items": ref("Job")}, "next": or_null(TEXT)}),
        "Result": _result(),
        "Summary": _summary(),
        **model_schemas(),
        "Problem": _problem(),
        "RowError": record({"row": or_null(COUNT), "column": or_null(TEXT), "detail": TEXT}),
        "Appliance": _appliance(),
        "WorkerList": record({"workers": {"type": "array", "items": ref("Worker")}}),
        "Worker": record(
            {"name": TEXT, "pid": {"type": "integer", "minimum": 1}, "state": {"enum": ["idle", "busy"]}},
            description="A restarted worker has the same name and another pid.",
        ),
        "Recycle": record({"asked": {**TIME, "description": "When the wish was made that is pending."}}),
        "Health": _health(),
        "Readiness": _readiness(),
        "Version": record(
            {
                **dict.fromkeys(("version", "commit", "xgboost", "shap", "engine", "python"), TEXT),
                "engines": record(dict.fromkeys((method.value for method in Method), TEXT)),
            },
            description="What this build is, and which library makes the values.",
        ),
    }


def _rows() -> Schema:
    cell: Schema = {"type": ["number", "string", "boolean", "null"]}
    array, named = {"type": "array", "items": cell}, {"type": "object", "additionalProperties": cell}
    return record(
        {
            "rows": {
                "anyOf": [{"type": "array", "minItems": 1, "items": {"anyOf": [array, named]}}, named],
                "description": "Rows, or a single one as an object.",
            }
        },
        {
            "model": {
                "type": ["string", "null"],
                "description": "NAME (its highest version that is ready) or NAME@VERSION.",
            },
            "method": {"enum": [*Method, None]},
            "interactions": {
                "type": ["boolean", "null"],
                "description": "Whether interactions come beside the values.",
            },
            "top_pairs": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": MOST_TOP_PAIRS,
                "description": "Only so many pairs of each row and output, the weightiest.",
            },
        },
        description="A row is an array in the model's feature order, or an object by feature name. A cell is a number, true, false or a category's label; null is missing.",
        examples=[ROWS],
    )


def _job() -> Schema:
    links = record({"self": TEXT, "result": TEXT})
    error = {
        "type": "object",
        "description": "Why the job failed, as a problem.",
        "required": ["type", "detail"],
        "properties": {"type": TEXT, "detail": TEXT},
    }
    return record(
        {
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": [JOB_ID]},
            "status": {"enum": list(Status)},
            "model": {**TEXT, "description": "NAME@VERSION."},
            "method": {"enum": list(Method)},
            "rows": COUNT,
            "batches": record({"total": COUNT, "completed": COUNT}),
            "created_at": TIME,
            "started_at": or_null(TIME),
            "finished_at": or_null(TIME),
            "error": or_null(error),
            "largest_residual": {
                **or_null({"type": "number", "minimum": 0}),
                "description": "How far base value and contributions of a row are from its margin, at most, relative to the "
                "largest of 1, |margin| and |contribution|. null until a batch is done. Beyond 1e-4 the job fails with engine-fault.",
            },
            "links": links,
        },
        {
            "fallback": {
                "const": True,
                "description": "The values come from a stand-in and explain nothing real.",
            },
            "interactions": {"const": True, "description": "Only if they were asked for."},
            "top_pairs": {**TOP_PAIRS, "description": "Only if they were asked for."},
        },
        examples=[JOB],
    )


def _result() -> Schema:
    nested = {"type": "array", "items": {"anyOf": [NUMBERS, {"type": "array", "items": NUMBERS}]}}
    sums = {"type": "array", "items": {"anyOf": [{"type": ["number", "null"]}, NUMBERS]}}
    return record(
        {
            "job": {
                **or_null(TEXT),
                "description": "null where few rows were explained on the spot: no job was kept.",
            },
            "model": TEXT,
            "method": {"enum": list(Method)},
            "feature_names": TEXTS,
            "output_names": TEXTS,
            "values": {**nested, "description": "rows x features, or rows x features x outputs for several."},
            "base_values": {**sums, "description": "rows, or rows x outputs."},
            "predictions": {
                **sums,
                "description": "The margin: base_values + values summed over the features.",
            },
        },
        {"interactions": _matrices(), "pairs": _pairs()},
        description="Named so that it loads straight into shap.Explanation.",
        examples=[RESULT],
    )


def _matrices() -> Schema:
    line = {"type": "array", "items": {"anyOf": [{"type": ["number", "null"]}, NUMBERS]}}
    matrix = {"type": "array", "items": line}
    return {
        "type": "array",
        "items": matrix,
        "description": "With interactions=true: rows x features x features, or rows x features x features x outputs, as "
        "shap.TreeExplainer.shap_interaction_values. Symmetric; a line adds up to its feature's value.",
    }


def _pairs() -> Schema:
    names = {**TEXTS, "minItems": 2, "maxItems": 2}
    some = {"type": "array", "items": record({"features": names, "value": {"type": ["number", "null"]}})}
    return {
        "type": "array",
        "items": {"anyOf": [some, {"type": "array", "items": some}]},
        "description": "With top_pairs: of each row, or of each row's outputs, the pairs of the largest absolute values, these "
        "first. Pairs that give nothing are left out. A pair's value stands twice in a matrix, so both together give twice that.",
    }


def _summary() -> Schema:
    number: Schema = {"type": "number"}
    feature = record(
        {
            "feature": TEXT,
            "mean_abs": {**number, "description": "Mean of |SHAP value|."},
            "mean": number,
            "deviation": {**number, "description": "Standard deviation over all rows."},
            "min": number,
            "max": number,
            "correlation": {
                **or_null(number),
                "description": "Pearson's, of the SHAP value with the feature's; null where either never changes, and for categories.",
            },
            "missing": {**COUNT, "description": "Rows in which the feature has no value."},
        }
    )
    output = record({"output": TEXT, "base_value": number, "features": {"type": "array", "items": feature}})
    return record(
        {
            "job": TEXT,
            "model": TEXT,
            "method": {"enum": list(Method)},
            "rows": COUNT,
            "outputs": {"type": "array", "items": output},
        },
        description="Exact over all rows. Features are ordered by mean_abs, largest first.",
    )


def _problem() -> Schema:
    return record(
        {
            "type": {**TEXT, "description": "/problems/SLUG, the same for all errors of a kind."},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**TEXT, "description": "What is wrong, and what to do."},
            "request_id": {**TEXT, "description": "The X-Request-Id, under which the log tells more."},
        },
        {
            "errors": {"type": "array", "maxItems": 20, "items": ref("RowError")},
            "job": ref("Job"),
        },
        description="RFC 9457.",
        examples=[PROBLEM],
    )


def _appliance() -> Schema:
    count_or_null = or_null(COUNT)
    queue = record({"batches": COUNT, "oldest_seconds": SECONDS})
    redis = {
        "up": FLAG,
        "ping_seconds": or_null(SECONDS),
        "memory_bytes": count_or_null,
        "memory_limit_bytes": count_or_null,
    }
    memory = {
        "working_set_bytes": count_or_null,
        "recycle_at_bytes": {**COUNT, "description": "MEMORY_LIMIT_MB: here the largest worker is recycled."},
        "container_limit_bytes": {**count_or_null, "description": "Null where no limit is the appliance's."},
        "source": {"enum": ["cgroup", "processes", None]},
    }
    program = record({"name": TEXT, "state": TEXT, "memory_bytes": count_or_null})
    return record(
        {
            **dict.fromkeys(("version", "commit", "role"), TEXT),
            "time": TIME,
            "draining": FLAG,
            "monitor": record({"fresh": FLAG, "reported_at": or_null(TIME)}),
            "memory": record(memory),
            "programs": {"type": "array", "items": program},
            "storage": record(dict.fromkeys(("used_bytes", "free_bytes"), count_or_null)),
            "redis": record(redis),
            "workers": or_null(record({"idle": COUNT, "busy": COUNT})),
            "queues": or_null(record(dict.fromkeys(("interactive", "bulk"), queue))),
            "jobs": or_null(record({status.value: COUNT for status in Status})),
        },
        description="What is not known, such as all that Redis tells while it is away, is null.",
        examples=[APPLIANCE],
    )


def _health() -> Schema:
    causes = {"type": "array", "items": record({"cause": TEXT, "detail": TEXT})}
    return record({"status": {"enum": ["ok", "failing"]}, "causes": causes})


def _readiness() -> Schema:
    probe = {
        "type": "object",
        "required": ["ok", "required", "detail"],
        "properties": {
            "ok": FLAG,
            "required": {**FLAG, "description": "Whether new work needs it: a fault makes the answer 503."},
            "detail": TEXT,
            "fallback": {**TEXTS, "description": "Models that are only stand-ins."},
            "refused": {**TEXTS, "description": "Models that are not served; GET /v1/models tells why."},
        },
    }
    names = ("redis", "queue", "workers", "storage", "models", "draining", "monitor")
    return record({"ready": FLAG, "probes": record(dict.fromkeys(names, probe))})
