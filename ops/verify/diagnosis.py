"""Diagnoses an appliance by its own words, without the consequences of the first cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.verify.outcome import NO_ANSWER, FailedError, NotCheckedError, describe
from ops.verify.target import Target, json_or_none, said

#: The remedy for each fault, by the name of the probe or the cause.
REMEDIES = {
    "api": "See whether the service runs, and its log. On Render: the dashboard's Events and Logs.",
    "redis": "The log says what becomes of Redis. One of its own is started again if it dies; if it is stopped or hangs, "
    "restart the service. With a remote one: see that it runs and that REDIS_URL leads to it.",
    "queue": "See what waits (queue_batches in /metrics) and what holds it: too many jobs, or workers that take none.",
    "workers": "The log's lines of worker-N say why. Restart the service; where workers are containers of their own, "
    "start some.",
    "storage": "Make room under DATA_DIR (DELETE old jobs, a larger disk), or see that STORAGE_URL can be reached.",
    "models": "Restore the models' files and deploy again: `python -m ops.models verify` names what is wrong.",
    "draining": "It is being stopped or replaced: wait for the new one, and verify again.",
    "monitor": "Restart the service: nobody watches over its workers and its memory.",
    "programs": "The log says why that program ends whenever it is started. Restart the service, or roll back.",
}
#: Probes that say nothing of their own while Redis does not answer.
BEHIND_REDIS = frozenset({"queue", "workers"})
#: The monitor's name of workers' processes, before their number.
WORKER = "worker-"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, by the name of its probe."""

    name: str
    detail: str

    @property
    def remedy(self) -> str:
        """The remedy."""
        return REMEDIES.get(self.name, REMEDIES["api"])

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


def find_faults(target: Target) -> list[Fault]:
    """Ask /readyz and /healthz; an empty list if the appliance finds nothing wrong with itself."""
    try:
        ready, health = target.get("/readyz"), target.get("/healthz")
    except NO_ANSWER as fault:
        return [Fault("api", f"{target.url} does not answer: {describe(fault)}")]
    probes = (json_or_none(ready) or {}).get("probes")
    if not isinstance(probes, dict):
        return [Fault("api", f"/readyz answers {said(ready)}")]
    faults = failed_probes(probes)
    causes = (json_or_none(health) or {}).get("causes", [])
    known = {fault.name for fault in faults} | (BEHIND_REDIS if not probes["redis"]["ok"] else set())
    faults += [Fault(c["cause"], c["detail"]) for c in causes if c["cause"] not in known]
    return [_with_names(target, fault) for fault in faults]


def failed_probes(probes: dict[str, Any]) -> list[Fault]:
    """Return the probes that have failed for a reason of their own."""
    names = [name for name, probe in probes.items() if not probe["ok"]]
    if "draining" in names:
        names = ["draining"]
    elif "redis" in names:
        names = [name for name in names if name not in BEHIND_REDIS]
    return [Fault(name, str(probes[name]["detail"])) for name in names]


def missing_workers(target: Target) -> list[str]:
    """Say of each worker that should work and does not what is the matter with it.

    Raises NotCheckedError without a key for metrics, FailedError if they cannot be read.
    """
    up = target.scrape().by("program_up", "program")
    missing = [
        f"supervisord does not have {name} running"
        for name, runs in sorted(up.items())
        if name.startswith(WORKER) and not runs
    ]
    heard = _heard_of(target)
    if heard is not None:
        # Another appliance's workers may have the same names; those would be taken for ours, and no fault is made up.
        missing += [
            f"{name} runs and says nothing (stopped, or hung)"
            for name, runs in sorted(up.items())
            if name.startswith(WORKER) and runs and name not in heard
        ]
    return missing


def _heard_of(target: Target) -> set[str] | None:
    """Return the names of the workers that say that they live; None if nobody tells."""
    if not target.key("ADMIN_API_KEY"):
        return None
    answer = target.get("/v1/workers", "ADMIN_API_KEY")
    document = json_or_none(answer)
    if answer.status != 200 or not isinstance(document, dict):
        return None
    return {str(worker["name"]).rpartition("/")[2] for worker in document["workers"]}


def _with_names(target: Target, fault: Fault) -> Fault:
    """Say which workers, where that can be known."""
    if fault.name != "workers":
        return fault
    try:
        missing = missing_workers(target)
    except (NotCheckedError, FailedError, *NO_ANSWER):
        return fault
    return Fault(fault.name, "; ".join([fault.detail.removesuffix("."), *missing]))
