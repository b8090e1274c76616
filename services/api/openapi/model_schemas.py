"""The schemas of models: what /v1/models shows of a version, of its contract and of its activation."""

from __future__ import annotations

from services.api.openapi.building import COUNT, FLAG, SECONDS, TEXT, TEXTS, Schema, or_null, record, ref
from services.api.openapi.examples import MODEL, REFUSED_MODEL
from shared.jobs.document import Method
from shared.models.activation.records import ExplanationKind, State
from shared.models.contract import Adverse, Kind, Link, TreesReason

_VERSION: Schema = {"type": "integer", "minimum": 1}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_RATIO: Schema = or_null({"type": "number"})


def model_schemas() -> dict[str, Schema]:
    """Return the schemas of models by name."""
    return {
        "Model": _model(),
        "ModelList": record({"models": {"type": "array", "items": ref("Model")}}),
        "Contract": _contract(),
        "Feature": _feature(),
        "ModelFile": record(
            {"file": TEXT, "sha256": _SHA256, "rows": COUNT},
            description="float32 rows in a file beside the model.",
        ),
        "Activation": _activation(),
    }


def _model() -> Schema:
    return record(
        {
            "name": TEXT,
            "version": {
                **or_null(_VERSION),
                "description": "null of a refused folder that is not named as a version is.",
            },
            "state": {"enum": list(State), "description": "Only what is ready can explain rows."},
            "reason": {**or_null(TEXT), "description": "Why it is refused."},
            "features": or_null(TEXTS),
            "outputs": or_null(TEXTS),
            "objective": or_null(TEXT),
            "sha256": or_null(_SHA256),
            "engine": {**or_null(TEXT), "description": "What explains the default method."},
            "engines": record(
                dict.fromkeys((method.value for method in Method), or_null(TEXT)),
                description="What explains each method; null where none does: `activation` says why, or `background` "
                "of the contract is null.",
            ),
            "fallback": {
                **FLAG,
                "description": "Whether it is a stand-in for a model whose files are broken.",
            },
            "contract": or_null(ref("Contract")),
            "activation": {**or_null(ref("Activation")), "description": "null where none is recorded."},
        },
        description="A version. Of a refused one whose manifest cannot be read, all that is not known is null.",
        examples=[MODEL, REFUSED_MODEL],
    )


def _contract() -> Schema:
    groups: Schema = {"type": "object", "additionalProperties": TEXTS}
    reasons: Schema = {"type": "object", "additionalProperties": record({"code": TEXT, "text": TEXT})}
    file = or_null(ref("ModelFile"))
    return record(
        {
            "format": {"enum": [1, 2]},
            "name": TEXT,
            "version": _VERSION,
            "sha256": _SHA256,
            "size": or_null(COUNT),
            "library": TEXT,
            "library_version": TEXT,
            "features": {"type": "array", "items": ref("Feature")},
            "outputs": TEXTS,
            "objective": TEXT,
            "link": {
                "enum": list(Link),
                "description": "From the margin, which values add up to, to what the model's own `predict` returns.",
            },
            "missing": {
                "type": "array",
                "items": {"type": "number"},
                "description": "Numbers that mean that a value is missing.",
            },
            "trees": or_null(
                record(
                    {"used": COUNT, "total": COUNT, "reason": {"enum": list(TreesReason)}},
                    description="The boosting rounds that count.",
                )
            ),
            "precision": TEXT,
            "groups": {**groups, "description": "Features that belong together, by the group's name."},
            "reasons": {**reasons, "description": "What is told a person, by feature or group."},
            "never_reasons": {**TEXTS, "description": "What must never be given as a reason."},
            "adverse": {
                "enum": [*Adverse, None],
                "description": "Which direction of a margin is adverse for the person.",
            },
            "background": file,
            "examples": file,
            "expected": or_null(record({"rows": ref("ModelFile"), "margins": ref("ModelFile")})),
            "training": {"type": "object", "description": "Where it comes from, as its owner says."},
            "fallback": FLAG,
        },
        description="What the model takes and gives, as its manifest says.",
    )


def _feature() -> Schema:
    labels: Schema = {
        "type": "array",
        "items": {"type": ["string", "integer"]},
        "description": "Of a category, in code order: send these. Empty where the model knows only codes from 0.",
    }
    return record({"name": TEXT, "kind": {"enum": list(Kind)}}, {"labels": labels})


def _activation() -> Schema:
    method = record(
        {
            "engine": {
                **or_null(TEXT),
                "description": "null where the method is not offered: `reason` says why.",
            },
            "reason": or_null(TEXT),
            "difference": {**_RATIO, "description": "The largest distance from the reference."},
            "residual": {**_RATIO, "description": "The largest distance of a sum of values from the margin."},
            "row_microseconds": or_null(SECONDS),
        }
    )
    return record(
        {
            "state": {"enum": list(State)},
            "reason": or_null(TEXT),
            "seconds": {**SECONDS, "description": "How long it took."},
            "methods": {
                "type": "object",
                "properties": dict.fromkeys((one.value for one in ExplanationKind), method),
                "additionalProperties": False,
            },
        },
        description="How inspecting, compiling and verifying the version ended. Distances are relative to a row's largest value or 1.",
    )
