"""Has a deploy verified at its address: what `make verify` does, with what is known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ops.render.deploy.address import await_commit
from ops.render.deploy.display import Display
from ops.render.deploy.options import DeployOptions
from ops.verify.options import Silent, VerifyOptions
from ops.verify.run import run_verify
from ops.verify.writers import as_text
from shared.build import ROOT


class Shown(Silent):
    """Shows which check is being made."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def begin(self, name: str) -> None:
        """Show that a check begins."""
        self._display.glimpse(f"verifying: {name}")


@dataclass(frozen=True, slots=True)
class Verification:
    """One commit at one address, with the service's keys."""

    options: DeployOptions
    url: str
    commit: str
    keys: Mapping[str, str]
    display: Display
    #: Says what Render has seen fail since a time; None where nobody can be asked.
    failed_events: Callable[[datetime], list[str]] | None = None

    def passes(self) -> bool:
        """Wait for the commit, verify it, and say what was found.

        Where another commit answers, or none, there is nothing to verify.
        """
        # Render's way to the new container may take a moment longer than its word.
        patience, seconds = self.options.patience, self.options.settle_seconds
        served = await_commit(self.url, self.commit, seconds, patience.poll)
        if served.commit != self.commit:
            self.display.say(f"At {self.url} {served}, and not {self.commit[:7]}, after {seconds:.0f} s.")
            return False
        report = run_verify(self._asked())
        self.display.close()
        self.display.say(as_text(report))
        return report.passed

    def _asked(self) -> VerifyOptions:
        return VerifyOptions(
            url=self.url,
            api_key=self.keys.get("API_KEY"),
            admin_api_key=self.keys.get("ADMIN_API_KEY"),
            metrics_token=self.keys.get("METRICS_TOKEN"),
            expect_commit=self.commit,
            soak_minutes=self.options.soak_minutes,
            models_dir=ROOT / "models",
            failed_events=self.failed_events,
            progress=Shown(self.display),
        )
