"""What a request says beside its rows: in the query, or in a JSON body."""

from __future__ import annotations

from typing import Any

from services.api.http.query import Query
from services.api.rows.json_body import BodyOptions
from services.api.rows.request_body import RequestBody
from shared.errors import BadParameterError, MethodRefusedError, UnprocessableError
from shared.interactions import MOST_TOP_PAIRS, Interactions
from shared.jobs.document import Method
from shared.models.activation.records import ExplanationKind
from shared.models.version import ModelVersion

#: The query parameters that say what to do with the rows, in the order of BodyOptions.
OPTION_PARAMETERS = ("model", "method", "interactions", "top_pairs")


def read_options(body: RequestBody, query: Query) -> BodyOptions:
    """Return the options of the query and of a JSON body; the two must not contradict each other."""
    asked = _read_query(query)
    if not body.options_in_body:
        return asked
    return BodyOptions(*(_merge(name, asked, body.options) for name in OPTION_PARAMETERS))


def _merge(name: str, asked: BodyOptions, said: BodyOptions) -> Any:
    in_query, in_body = getattr(asked, name), getattr(said, name)
    if in_query is not None and in_body is not None and in_query != in_body:
        raise UnprocessableError(
            f"The query says {name}={_shorten(in_query)} and the body {_shorten(in_body)}: say it once."
        )
    return in_query if in_body is None else in_body


def choose_interactions(options: BodyOptions, method: Method, model: ModelVersion) -> Interactions | None:
    """Return which interactions are wanted. Raises UnprocessableError for what makes no sense or the model has not."""
    top_pairs = options.top_pairs
    if not options.interactions:
        if top_pairs is not None:
            raise UnprocessableError(
                "top_pairs goes with interactions=true: add that, or leave top_pairs out."
            )
        return None
    if top_pairs is not None and not 1 <= top_pairs <= MOST_TOP_PAIRS:
        raise UnprocessableError(f"top_pairs={top_pairs} is not a whole number from 1 to {MOST_TOP_PAIRS}.")
    if method is not Method.TREE_PATH_DEPENDENT:
        raise UnprocessableError(
            f"There are no interactions with method={method}: use {Method.TREE_PATH_DEPENDENT}, or leave interactions out."
        )
    record = model.method_record(ExplanationKind.INTERACTIONS)
    if record.engine is None:
        raise MethodRefusedError(
            f"Model {model.id} cannot be explained with interactions: {record.reason or 'the reason is not known'}"
            "; leave interactions out."
        )
    return Interactions(top_pairs)


def _read_query(query: Query) -> BodyOptions:
    top_pairs = None
    try:
        interactions = query.flag("interactions")
        if query.text("top_pairs") is not None:
            top_pairs = query.whole("top_pairs", 0, 1, MOST_TOP_PAIRS)
    except BadParameterError as fault:
        # The same as in a body: read, and wrong.
        raise UnprocessableError(str(fault)) from fault
    return BodyOptions(query.text("model"), query.text("method"), interactions, top_pairs)


def _shorten(value: str | int) -> str:
    return repr(value[:80]) if isinstance(value, str) else str(value).lower()
