"""Checks that every model answers exactly, and none is a placeholder."""

from __future__ import annotations

from ops.verify.expectation import Expectation
from ops.verify.outcome import FailedError
from ops.verify.served import ServedModel
from ops.verify.target import JOBS_KEYS, said
from ops.verify.visit import Visit

#: Rows that each model is asked about in one request.
ROWS = 8


def models(visit: Visit) -> str:
    """See that there are models."""
    answer = visit.target.get("/v1/models", visit.target.take(JOBS_KEYS))
    if answer.status != 200:
        raise FailedError(f"GET /v1/models answers {said(answer)}.", "The appliance's log says more.")
    documents = answer.json()["models"]
    refused = [document for document in documents if document.get("state") == "refused"]
    visit.served = [ServedModel.of(document) for document in documents if document not in refused]
    if not visit.served:
        raise FailedError("No model is served.", "Add one with `python -m ops.models add`, and deploy again.")
    served = ", ".join(model.id for model in visit.served)
    reasons = "; ".join(f"{one['name']}@{one['version']}: {one['reason']}" for one in refused)
    return f"{served}; {len(refused)} refused ({reasons})" if refused else served


def model(asked: ServedModel, visit: Visit) -> str:
    """Have a model explain some rows, and see that its values are exact."""
    if asked.fallback:
        raise FailedError(
            f"{asked.id} is a fallback: a placeholder whose values explain nothing, since the model's own files could "
            "not be used.",
            "Restore the model's files and deploy again (`python -m ops.models verify` names what is wrong). Unset "
            "ALLOW_FALLBACK_MODEL, and such a deploy does not start.",
        )
    expectation = Expectation.of(asked, visit.local, ROWS)
    result, seconds = visit.jobs.explain(asked, expectation.rows, visit.options.answer_seconds)
    exact = expectation.check(result)
    visit.sound.append(asked)
    return f"{ROWS} rows in {seconds * 1000:.0f} ms, {exact}"
