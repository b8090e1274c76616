"""The summary and the plots of one job, fetched and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ops.lab.trial_appliance import TrialError
from ops.reached import Reached

#: Plots of a job: an address and the file for it. The first one also takes the time of the summary.
PICTURES = (
    ("summary", "application/json"),
    *(
        (f"plots/{kind}", media_type)
        for kind in ("bar", "beeswarm", "waterfall", "dependence")
        for media_type in ("image/svg+xml", "image/png")
    ),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """The seconds and the content of each of them."""

    address: str
    media_type: str
    seconds: float
    body: bytes

    def __str__(self) -> str:
        return f"{self.address} as {self.media_type}: {self.seconds:.2f} s, {len(self.body) / 1024:.0f} KB"


def fetch_pictures(appliance: Reached, job_id: str) -> list[Picture]:
    """Fetch each once, one after the other. Raises TrialError if one is refused."""
    pictures = []
    for address, media_type in PICTURES:
        started = time.monotonic()
        answer = appliance.get(f"/v1/jobs/{job_id}/{address}", headers={"Accept": media_type})
        if answer.status != 200:
            raise TrialError(f"{address} was refused: {answer.status} {answer.body[:300]!r}")
        pictures.append(Picture(address, media_type, time.monotonic() - started, answer.body))
    return pictures
