"""How long an appliance takes after a fault to accept, run and give back a new job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ops.lab.load import NOT_NOW, Load, accepted_id
from ops.lab.rows import PlannedJob
from shapbox import NoAnswerError, Response, Shapbox

#: Seconds for one call, and between two: a client that does not wait for Retry-After.
CALL_SECONDS, LOOK_SECONDS = 2.0, 0.05
#: Seconds after which a recovery is given up, which is a finding.
MOST_SECONDS = 60.0


@dataclass(slots=True)
class RecoveryMeter:
    """One thread uses it. `seconds` holds what was measured, by fault."""

    load: Load
    seconds: list[tuple[float, str]] = field(default_factory=list)

    def measure(self, fault: str) -> None:
        """Offer a job of one row until it has completed; note the seconds."""
        planned = PlannedJob(f"recovery-{len(self.seconds)}", min(self.load.pools), 0, 1)
        body = self.load.pools[planned.model].body(planned)
        headers = {"Content-Type": planned.form.value, "Idempotency-Key": planned.key}
        box, started, job_id = Shapbox(self.load.appliance.url, ""), time.monotonic(), None
        headers["Authorization"] = f"Bearer {self.load.appliance.api_key}"
        while (passed := time.monotonic() - started) < MOST_SECONDS:
            if job_id is None:
                answer = _call(box, "POST", f"/v1/jobs?model={planned.model}", body, headers)
                job_id = accepted_id(answer) if answer else None
                if job_id is not None:
                    entry = self.load.ledger.accept(job_id, planned)
            else:
                answer = _call(box, "GET", f"/v1/jobs/{job_id}?wait=1", None, headers)
                if answer is not None and answer.status == 200 and answer.json()["finished_at"]:
                    entry.said, entry.state = str(answer.json()["error"]), answer.json()["status"]
                    self.seconds.append((time.monotonic() - started, fault))
                    return
            time.sleep(LOOK_SECONDS)
        self.load.ledger.find("stuck", f"after {fault} no new job completed for {passed:.0f} s", job_id or "")


def _call(
    box: Shapbox, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Response | None:
    """Make a call; None without a final answer."""
    try:
        answer = box.call(method, path, body, headers, CALL_SECONDS)
    except NoAnswerError:
        return None
    return None if answer.status in NOT_NOW else answer
