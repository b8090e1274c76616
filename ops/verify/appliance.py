"""The visited appliance: calls with the right key, its metrics, and its health report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ops.verify.report import CheckError, FailedError, NotCheckedError
from shapbox import NoAnswerError, RefusedError, Response, Shapbox
from shared.metrics import PREFIX

#: The keys that open each kind of address, the best first.
JOBS_KEYS, METRICS_KEYS = ("API_KEY", "ADMIN_API_KEY"), ("METRICS_TOKEN", "ADMIN_API_KEY")
ADMIN_KEYS = ("ADMIN_API_KEY",)
#: Seconds that a call may take that waits for nothing.
CALL_SECONDS = 15.0
LOG = "The appliance's log says more. Verify again; if it fails again, roll back."
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


class Scrape(dict[str, float]):
    """One reading of the metrics: values by `name` or `name{label=value}`, without the prefix."""

    def __init__(self, body: bytes) -> None:
        """Parse Prometheus's text format. Raises FailedError for anything else."""
        try:
            families = list(text_string_to_metric_families(body.decode()))
        except ValueError as fault:
            remedy = "Prometheus would refuse it, too: see what stands between the appliance and here."
            raise FailedError(f"/metrics cannot be parsed: {fault}.", remedy) from fault
        for one in (sample for family in families for sample in family.samples):
            labels = "".join(f"{{{name}={value}}}" for name, value in sorted(one.labels.items()))
            self[one.name.removeprefix(PREFIX) + labels] = one.value

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return a metric's values by its one label."""
        begin = f"{name}{{{label}="
        return {key.removeprefix(begin)[:-1]: value for key, value in self.items() if key.startswith(begin)}

    def counters(self) -> dict[str, float]:
        """Return all that may never fall."""
        return {key: value for key, value in self.items() if key.split("{")[0].endswith(("_total", "_count"))}


class Appliance:
    """One appliance and the keys that were given for it.

    A call that is not answered raises NoAnswerError.
    """

    def __init__(self, url: str, keys: Mapping[str, str]) -> None:
        self.url = url
        self.keys = keys
        self._box = Shapbox(url, "")

    def given(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these keys that was given."""
        return next((name for name in names if name in self.keys), None)

    def take(self, names: tuple[str, ...]) -> str:
        """Return the first of these keys that was given. Raises NotCheckedError if none was."""
        if name := self.given(names):
            return name
        raise NotCheckedError("not checked: it takes a key.", f"Set {' or '.join(names)}.")

    def call(
        self, method: str, path: str, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one call with the key of that name."""
        authorization = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        return self._box.call(method, path, None, {**authorization, **(headers or {})}, CALL_SECONDS)

    def get(self, path: str, key: str | None = None) -> Response:
        """Get a path with the key of that name."""
        return self.call("GET", path, key)

    def read(self, path: str, keys: tuple[str, ...]) -> Any:
        """Return the JSON of a path that one of these keys opens. Raises FailedError."""
        answer = self.get(path, self.take(keys))
        if answer.status != 200:
            raise FailedError(f"GET {path} answers {said(answer)}.", LOG)
        return answer.json()

    def scrape(self) -> Scrape:
        """Read the metrics. Raises FailedError if they cannot be read or parsed."""
        answer = self.get("/metrics", self.take(METRICS_KEYS))
        if answer.status != 200:
            remedy = "The monitor makes them: see its lines in the appliance's log."
            raise FailedError(f"/metrics answers {said(answer)}.", remedy)
        return Scrape(answer.body)

    def find_faults(self) -> list[Fault]:
        """Ask /readyz and /healthz; an empty list if the appliance finds nothing wrong with itself."""
        try:
            ready, health = self.get("/readyz"), self.get("/healthz")
        except NoAnswerError as fault:
            return [Fault("api", str(fault))]
        probes = json_of(ready).get("probes")
        if not isinstance(probes, dict):
            return [Fault("api", f"/readyz answers {said(ready)}")]
        faults = failed_probes(probes)
        known = {fault.name for fault in faults} | (BEHIND_REDIS if not probes["redis"]["ok"] else set())
        causes = json_of(health).get("causes", [])
        faults += [Fault(one["cause"], one["detail"]) for one in causes if one["cause"] not in known]
        return [self._with_names(fault) if fault.name == "workers" else fault for fault in faults]

    def missing_workers(self) -> list[str]:
        """Say of each worker that should work and does not what is the matter with it.

        Raises NotCheckedError without a key for metrics, FailedError if they cannot be read.
        """
        up = self.scrape().by("program_up", "program")
        workers = {name: runs for name, runs in sorted(up.items()) if name.startswith(WORKER)}
        missing = [f"supervisord does not have {name} running" for name, runs in workers.items() if not runs]
        try:
            told = self.read("/v1/workers", ADMIN_KEYS)["workers"]
        except CheckError:  # nobody tells which workers were heard of
            return missing
        # Another appliance's workers may have the same names; those would be taken for ours, and no fault is made up.
        heard = {str(worker["name"]).rpartition("/")[2] for worker in told}
        silent = [name for name, runs in workers.items() if runs and name not in heard]
        return missing + [f"{name} runs and says nothing (stopped, or hung)" for name in silent]

    def _with_names(self, fault: Fault) -> Fault:
        """Say which workers, where that can be known."""
        try:
            missing = self.missing_workers()
        except (CheckError, NoAnswerError):
            return fault
        return Fault(fault.name, "; ".join([fault.detail.removesuffix("."), *missing]))


def failed_probes(probes: Mapping[str, Any]) -> list[Fault]:
    """Return the probes that have failed for a reason of their own."""
    names = [name for name, probe in probes.items() if not probe["ok"]]
    if "draining" in names:
        names = ["draining"]
    elif "redis" in names:
        names = [name for name in names if name not in BEHIND_REDIS]
    return [Fault(name, str(probes[name]["detail"])) for name in names]


def said(answer: Response) -> str:
    """Quote an answer: its status, and a problem's own words or the start of its body."""
    return f"{answer.status}: {' '.join(RefusedError.of(answer).detail.split())}".rstrip(".")


def json_of(answer: Response) -> dict[str, Any]:
    """Return the body's JSON object, or an empty one."""
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
