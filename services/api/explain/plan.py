"""What is to be done with a request's rows: its options, checked against the model, as a Plan; and who carries it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from services.api.http.query import Query, RowRange
from services.api.rows.json_body import BodyOptions
from services.api.rows.chunks import Matrix
from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import RowSpec
from shared.batch_plan import plan_batch_rows, plan_interaction_rows, plan_interventional_rows
from shared.errors import BadParameterError, MethodRefusedError, UnprocessableError
from shared.explanation import Explanation
from shared.interactions import MOST_TOP_PAIRS, Interactions
from shared.jobs.document import Job, Method
from shared.jobs.store import Idempotency
from shared.models.activation.records import SHAP, ExplanationKind, MethodRecord, is_compiled
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: The query parameters that say what to do with the rows, in the order of BodyOptions.
OPTION_PARAMETERS = ("model", "method", "interactions", "top_pairs")
#: Plans that a Planner keeps.
MOST_PLANS = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with the rows of a request."""

    model: ModelVersion
    model_id: str
    method: Method
    feature_names: tuple[str, ...]
    output_names: tuple[str, ...]
    #: The engine that explains the rows.
    engine: str
    batch_rows: int
    interactions: Interactions | None
    #: What a reader must know about the rows.
    spec: RowSpec

    def job(self, job_id: str, rows: int, request_id: str) -> Job:
        """Return the job of so many rows."""
        return Job(
            id=job_id,
            model=self.model_id,
            method=self.method,
            rows=rows,
            batch_rows=self.batch_rows,
            features=len(self.feature_names),
            outputs=len(self.output_names),
            fallback=self.model.fallback,
            created_at=time.time(),
            request=request_id,
            interactions=self.interactions,
        )


class Urgency(Enum):
    """What the client waits for."""

    #: Nothing: it comes back for the job.
    LATER = auto()
    #: The job's end: it may come back for the result.
    JOB = auto()
    #: The values, and nothing else.
    VALUES = auto()


@dataclass(frozen=True, slots=True)
class Task:
    """One request to carry out: a plan, and the rows that are about to be read."""

    request_id: str
    plan: Plan
    body: RequestBody
    urgency: Urgency
    #: The rows whose values are requested; checked before anything is stored.
    wanted: RowRange
    idempotency: Idempotency | None

    def chunks(self) -> Iterator[Matrix]:
        """Read the rows from the start, in batches. Raises what is wrong with them."""
        return self.body.chunks(self.plan.spec)


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that was accepted, now or before with the same Idempotency-Key."""

    job: Job


@dataclass(frozen=True, slots=True)
class Inline:
    """Rows that were explained in this process. `job` is None if none was kept: the explanation is all there is."""

    plan: Plan
    explanation: Explanation
    job: Job | None = None


class Executor(Protocol):
    """Carries tasks out."""

    def run(self, task: Task) -> Inline | Queued:
        """Explain the task's rows, or accept a job for them. Raises what is wrong with the rows."""
        ...


class Planner:
    """Makes plans. A plan is made once for the same options: models do not change while a catalog is in use."""

    def __init__(self, catalog: ModelCatalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings
        self._plans: dict[BodyOptions, Plan] = {}

    def plan(self, query: Query, body: RequestBody) -> Plan:
        """Return the plan for the options in the query and in a JSON body.

        Raises UnprocessableError, MethodRefusedError, BatchTooLargeError, and what the catalog and the body raise.
        """
        options = _read_options(query)
        if body.options_in_body:
            options = _merge(options, body.options)
        plan = self._plans.get(options)
        if plan is None:
            plan = self._make(options)
            if len(self._plans) < MOST_PLANS:
                self._plans[options] = plan
        return plan

    def _make(self, options: BodyOptions) -> Plan:
        model = self._choose_model(options.model)
        method, record = _choose_method(options.method, model)
        interactions = _choose_interactions(options, method, model)
        batch_rows = self._batch_rows(model, record, interactions)
        return Plan(
            model=model,
            model_id=model.id,
            method=method,
            feature_names=model.features,
            output_names=model.outputs,
            engine=record.engine or "unknown",
            batch_rows=batch_rows,
            interactions=interactions,
            spec=RowSpec.of(model.contract, batch_rows, self._settings.max_rows),
        )

    def _choose_model(self, name: str | None) -> ModelVersion:
        name = name or self._settings.default_model
        if name is not None:
            return self._catalog.get(name)
        latest = self._catalog.latest()
        if len(latest) == 1:
            return latest[0]
        names = ", ".join(version.name for version in latest)
        raise UnprocessableError(
            f'The request names no model and DEFAULT_MODEL is not set. Set "model" in the JSON body, or ?model= for '
            f"other formats, to one of: {names}."
        )

    def _batch_rows(
        self, model: ModelVersion, record: MethodRecord, interactions: Interactions | None
    ) -> int:
        features, outputs = len(model.features), len(model.outputs)
        if interactions is not None:
            return plan_interaction_rows(features, outputs, self._settings, interactions)
        rows = plan_batch_rows(features, outputs, self._settings, compiled=is_compiled(record))
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
    """Return which interactions are requested. Raises UnprocessableError for contradictions, MethodRefusedError."""
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


def _read_options(query: Query) -> BodyOptions:
    top_pairs = None
    try:
        interactions = query.flag("interactions")
        if query.text("top_pairs") is not None:
            top_pairs = query.whole("top_pairs", 0, 1, MOST_TOP_PAIRS)
    except BadParameterError as fault:
        raise UnprocessableError(str(fault)) from fault  # the same status as for options in a body
    return BodyOptions(query.text("model"), query.text("method"), interactions, top_pairs)


def _merge(in_query: BodyOptions, in_body: BodyOptions) -> BodyOptions:
    """Return the options of both. Raises UnprocessableError if they contradict each other."""

    def merge(name: str) -> Any:
        one, other = getattr(in_query, name), getattr(in_body, name)
        if one is not None and other is not None and one != other:
            raise UnprocessableError(
                f"The query has {name}={_shorten(one)} and the body {name}={_shorten(other)}. Send it once."
            )
        return one if other is None else other

    return BodyOptions(*map(merge, OPTION_PARAMETERS))


def _shorten(value: str | int) -> str:
    return repr(value[:80]) if isinstance(value, str) else str(value).lower()
