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
from ops.verify.visit import VerifyOptions
from shapbox import NoAnswerError, Response, Shapbox
from shared.build import ROOT

#: Seconds for one answer.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """The answers of an address."""

    commit: str | None
    healthy: bool
    ready: bool

    def __str__(self) -> str:
        if self.commit is None:
            return "nothing of ours answers"
        ready = " and ready" if self.ready else ""
        return f"commit {self.commit[:7]} answers, {f'healthy{ready}' if self.healthy else 'not healthy'}"


def look(url: str) -> Served:
    """Ask /version, /healthz and /readyz once each; never fails."""
    box = Shapbox(url, "")
    version, *health = (_get(box, path) for path in ("/version", "/healthz", "/readyz"))
    try:
        commit = str(version.json()["commit"]) if version else None
    except (ValueError, KeyError, TypeError):
        commit = None
    return Served(commit, *(one is not None and one.status == 200 for one in health))


def await_commit(
    url: str, commit: str, seconds: float, poll: float, show: Callable[[Served], None] | None = None
) -> Served:
    """Poll until this commit answers and is ready, or the time is over; return the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        served = look(url)
        if show is not None:
            show(served)
        if (served.commit == commit and served.ready) or time.monotonic() > deadline:
            return served
        time.sleep(poll)


def _get(box: Shapbox, path: str) -> Response | None:
    try:
        return box.call("GET", path, seconds=ANSWER_SECONDS)
    except NoAnswerError:
        return None


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
    # Render's way to the new container may take a moment longer than its word.
    served = await_commit(url, commit, options.settle_seconds, options.poll)
    if served.commit != commit:
        display.say(f"At {url} {served}, and not {commit[:7]}, after {options.settle_seconds:.0f} s.")
        return False
    report = run_verify(
        VerifyOptions(
            url=url,
            keys=keys,
            expect_commit=commit,
            soak_minutes=options.soak_minutes,
            models_dir=ROOT / "models",
            failed_events=failed_events,
            progress=lambda text: display.glimpse(f"verifying: {text}"),
        )
    )
    display.say(as_text(report))
    return report.passed
