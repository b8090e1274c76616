"""The keys: each opens what it is for, and nothing else opens anything."""

from __future__ import annotations

import secrets

from ops.http_call import Answer
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.target import said
from ops.verify.visit import Visit

#: Paths that nobody may read without a key.
CLOSED = ("/v1/models", "/v1/jobs", "/metrics", "/v1/workers")
#: Paths that each key opens, and paths that it must not open.
OPENS = {
    "API_KEY": ("/v1/models", ("/metrics", "/v1/workers")),
    "ADMIN_API_KEY": ("/v1/workers", ()),
    "METRICS_TOKEN": ("/metrics", ("/v1/models", "/v1/workers")),
}
#: Where a right is missing: the deploy is not to be trusted with any key.
_OPEN_REMEDY = "Take it off the net: roll back, and see what stands between the service and its clients."


def closed(visit: Visit) -> str:
    """See that nothing opens without a key, nor with a wrong one."""
    wrong = {"Authorization": f"Bearer wrong-{secrets.token_hex(16)}"}
    for path in CLOSED:
        for how, headers in (("without a key", {}), ("with a wrong key", wrong)):
            answer = visit.target.get(path, headers=headers)
            if answer.status != 401:
                raise FailedError(
                    f"GET {path} {how} answers {answer.status}, and must answer 401.", _OPEN_REMEDY
                )
    return f"401 for {len(CLOSED)} addresses, without a key and with a wrong one"


def key(name: str, visit: Visit) -> str:
    """See that a key opens what it is for, and nothing else."""
    if not visit.target.key(name):
        raise NotCheckedError("not checked: it is not given.", f"Set {name}.")
    opens, others = OPENS[name]
    answer = visit.target.get(opens, name)
    if answer.status != 200:
        raise _refused(name, opens, answer)
    for path in others:
        status = visit.target.get(path, name).status
        if status != 403:
            raise FailedError(f"{name} on GET {path} answers {status}, and must answer 403.", _OPEN_REMEDY)
    return f"opens {opens}" + (f", not {' nor '.join(others)}" if others else "")


def _refused(name: str, path: str, answer: Answer) -> FailedError:
    if answer.status not in {401, 403}:
        return FailedError(
            f"GET {path} with {name} answers {said(answer)}.", "The appliance's log says more."
        )
    kind = "is refused" if answer.status == 401 else "is another key's value"
    return FailedError(
        f"{name} {kind} ({said(answer)}).",
        f"Set {name} to the service's own value: on Render it stands under Environment, of an appliance here in "
        f"DATA_DIR/keys/{name}.",
    )
