"""Plans: the options of a request, checked against the model; tasks and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.api.http.query import RowRange
from services.api.rows.json_body import BodyOptions
from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import RowSpec
from shared.batch_plan import plan_batch_rows, plan_interaction_rows, plan_interventional_rows
from shared.errors import MethodRefusedError, UnprocessableError
from shared.explanation import Explanation
from shared.interactions import MOST_TOP_PAIRS, Interactions
from shared.jobs.document import Job, Method
from shared.jobs.store import Idempotency
from shared.models.activation.records import SHAP, ExplanationKind, MethodRecord, is_compiled
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The method, the batches and the names for the rows of a request."""

    model_id: str
    #: Whether the model is a placeholder.
    fallback: bool
    method: Method
    feature_names: tuple[str, ...]
    output_names: tuple[str, ...]
    #: The engine that explains the rows.
    engine: str
    batch_rows: int
    interactions: Interactions | None
    #: The columns that readers expect.
    spec: RowSpec


@dataclass(frozen=True, slots=True)
class Task:
    """One request to carry out: a plan, and the rows that are about to be read."""

    request_id: str
    plan: Plan
    body: RequestBody
    #: The rows whose values are requested; checked before anything is stored.
    wanted: RowRange
    #: Whether the client may come back for the job.
    keeps_job: bool
    idempotency: Idempotency | None


@dataclass(frozen=True, slots=True)
class Inline:
    """Rows that were explained in this process. `job` is None if none was kept."""

    plan: Plan
    explanation: Explanation
    job: Job | None = None


class Executor(Protocol):
    """Carries tasks out."""

    def run(self, task: Task) -> Inline | Job:
        """Explain the task's rows, or accept a job for them. Raises what is wrong with the rows."""
        ...


def make_plan(options: BodyOptions, catalog: ModelCatalog, settings: Settings) -> Plan:
    """Return the plan for a request's options.

    Raises UnprocessableError, MethodRefusedError, ModelNotFoundError, ModelRefusedError and BatchTooLargeError.
    """
    model = _choose_model(options.model or settings.default_model, catalog)
    method, record = _choose_method(options.method, model)
    interactions = _choose_interactions(options, method, model)
    batch_rows = _batch_rows(model, record, interactions, settings)
    return Plan(
        model_id=model.id,
        fallback=model.fallback,
        method=method,
        feature_names=model.features,
        output_names=model.outputs,
        engine=record.engine or "unknown",
        batch_rows=batch_rows,
        interactions=interactions,
        spec=RowSpec.of(model.contract, batch_rows, settings.max_rows),
    )


def _choose_model(name: str | None, catalog: ModelCatalog) -> ModelVersion:
    if name is not None:
        return catalog.get(name)
    latest = catalog.latest()
    if len(latest) == 1:
        return latest[0]
    names = ", ".join(version.name for version in latest)
    raise UnprocessableError(
        f'The request names no model and DEFAULT_MODEL is not set. Set "model" in the JSON body, or ?model= for '
        f"other formats, to one of: {names}."
    )


def _batch_rows(
    model: ModelVersion, record: MethodRecord, interactions: Interactions | None, settings: Settings
) -> int:
    features, outputs = len(model.features), len(model.outputs)
    if interactions is not None:
        return plan_interaction_rows(features, outputs, settings, interactions)
    rows = plan_batch_rows(features, outputs, settings, compiled=is_compiled(record))
    if record.engine == SHAP and model.contract.background:
        return plan_interventional_rows(rows, model.contract.background.rows, outputs)
    return rows


def _choose_method(name: str | None, model: ModelVersion) -> tuple[Method, MethodRecord]:
    try:
        method = Method.TREE_PATH_DEPENDENT if name is None else Method(name)
    except ValueError:
        raise UnprocessableError(
            f"Unknown method {(name or '')[:80]!r}. Use one of: {', '.join(Method)}."
        ) from None
    record = model.method_record(method)
    if record.engine is None:
        others = " or ".join(model.methods)
        raise MethodRefusedError(
            f"Method {method} is not available for model {model.id}: {_reason(record)}."
            + (f" Use {others}." if others else "")
        )
    return method, record


def _choose_interactions(options: BodyOptions, method: Method, model: ModelVersion) -> Interactions | None:
    """Return the requested interactions. Raises UnprocessableError and MethodRefusedError."""
    top_pairs = options.top_pairs
    if not options.interactions:
        if top_pairs is not None:
            raise UnprocessableError(
                "top_pairs requires interactions=true. Add that, or leave top_pairs out."
            )
        return None
    if top_pairs is not None and not 1 <= top_pairs <= MOST_TOP_PAIRS:
        raise UnprocessableError(f"top_pairs={top_pairs} is not a whole number from 1 to {MOST_TOP_PAIRS}.")
    if method is not Method.TREE_PATH_DEPENDENT:
        raise UnprocessableError(
            f"Interactions are not available for method={method}. Use {Method.TREE_PATH_DEPENDENT}, or leave interactions out."
        )
    record = model.method_record(ExplanationKind.INTERACTIONS)
    if record.engine is None:
        raise MethodRefusedError(
            f"Interactions are not available for model {model.id}: {_reason(record)}. Leave interactions out."
        )
    return Interactions(top_pairs)


def _reason(record: MethodRecord) -> str:
    return (record.reason or "the reason is not known").rstrip(".")
