"""The service at its public address: which commit answers there, and how well."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ops.render.display import Display
from ops.render.options import Options
from ops.verify.report import as_text
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions, ignore_progress
from shapbox import NoAnswerError, Response, Shapbox
from shared.build import ROOT
from shared.deadline import within

#: Seconds for one answer.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """The answers of an address: the commit, None if it is none of ours, and its health."""

    commit: str | None
    healthy: bool
    ready: bool
    #: Whether it is still starting, and says that it gets on.
    starting: bool = False

    def __str__(self) -> str:
        if self.commit is None:
            return "an appliance is starting" if self.starting else "no appliance answers"
        health = ("healthy and ready" if self.ready else "healthy") if self.healthy else "not healthy"
        return f"commit {self.commit[:7]} answers, {health}"


def look(url: str) -> Served:
    """Ask /version, /healthz and /readyz once each, with deadlines; never fails."""
    box = Shapbox(url, "")

    def get(path: str) -> Response | None:
        try:
            return within(ANSWER_SECONDS, lambda: box.call("GET", path, seconds=ANSWER_SECONDS))
        except (NoAnswerError, TimeoutError):
            return None

    version, *health = map(get, ("/version", "/healthz", "/readyz"))
    try:
        commit = str(version.json()["commit"]) if version else None
    except (ValueError, KeyError, TypeError):
        commit = None
    healthy, ready = (one is not None and one.status == 200 for one in health)
    starting = healthy and health[0] is not None and b'"starting"' in health[0].body
    return Served(commit, healthy, ready, starting)


def await_commit(
    url: str, commit: str, seconds: float, poll: float, show: Callable[[str], object] = ignore_progress
) -> Served:
    """Poll until this commit answers and is ready, or the time is over; return the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        served = look(url)
        if served.starting:  # it activates models, for which /healthz sets a limit
            deadline = time.monotonic() + seconds
        show(f"waiting for {commit[:7]}: {served}")
        if (served.commit == commit and served.ready) or time.monotonic() > deadline:
            return served
        time.sleep(poll)


def passes(
    options: Options,
    url: str,
    commit: str,
    keys: Mapping[str, str],
    display: Display,
    failed_events: Callable[[datetime], list[str]] | None = None,
) -> bool:
    """Wait for the commit, verify it as `make verify` does, and say what was found.

    `failed_events` tells what Render has seen fail since a time; None where it cannot be asked.
    """
    # Render may call a deploy live some seconds before it sends requests there.
    served = await_commit(url, commit, options.settle_seconds, options.deploy_poll_seconds)
    if served.commit != commit:
        display.say(f"At {url} {served}, and not {commit[:7]}, after {options.settle_seconds:.0f} s.")
        return False
    visit = VerifyOptions(
        url=url,
        keys=keys,
        expect_commit=commit,
        soak_minutes=options.soak_minutes,
        models_dir=ROOT / "models",
        failed_events=failed_events,
        progress=lambda _check: display.show("verifying"),
    )
    report = run_verify(visit)
    display.say(as_text(report))
    return report.passed
