"""One deploy from its order to its verification, and back again where that fails."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from ops.render.calls import RenderError
from ops.render.client import FAILED, FINAL, WAITING, Deploy, Service
from ops.render.display import Display
from ops.render.options import ExitCode, Options
from ops.render.served import await_commit, look, passes

#: Orders that may be given if the ones before certainly came to nothing, and looks for one that was not answered.
ATTEMPTS, LOOKS = 3, 10
#: Printed for a Ctrl-C that must wait.
HEARD = b"\nCtrl-C is heard: first it must be known whether the deploy has begun.\n"


@dataclass(slots=True)
class Deployment:
    """Deploys one commit to one service through Render's API, and reports its progress."""

    options: Options
    service: Service
    commit: str
    #: The service's own keys, to verify it with.
    keys: Mapping[str, str]
    display: Display

    def run(self) -> ExitCode:
        """Do it all. Raises RenderError."""
        try:
            before = self.service.live_deploy()
            with held_interrupts():
                deploy = self._start()
            self.display.say(f"Deploying {self.commit[:12]} to {self.service.name}: {deploy.id}.")
            deploy = self._follow(deploy)
            if deploy.status == "live":
                return self._verify(deploy, before)
            self._tell_end(deploy)
            self._tell_what_serves()
        except KeyboardInterrupt:
            self.display.say(
                "Interrupted: what was ordered goes on at Render, unverified. Run make deploy again to follow\n"
                f"the same deploy, or cancel it in the dashboard: {self.service.dashboard_url}"
            )
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED

    def _start(self) -> Deploy:
        """Start a deploy of the commit; returns it, or the one that is under way already."""
        known = self.service.deploys()
        for deploy in known:
            if deploy.commit == self.commit and deploy.status not in FINAL:
                self.display.say(f"A deploy of this commit is under way already: {deploy}.")
                return deploy
        return self._order(known, self.commit, partial(self.service.order, "deploys", commitId=self.commit))

    def _order(self, known: list[Deploy], commit: str, give: Callable[[], Deploy | None]) -> Deploy:
        """Give an order until its deploy exists; never again while the last one may take effect.

        Raises RenderError where it is refused, or where nobody can say what became of it.
        """
        taken, attempts = False, 0
        while not taken and attempts < ATTEMPTS:  # once taken, a second order would be a second deploy
            attempts += 1
            try:
                if deploy := give():
                    return deploy
                taken = True
                self.display.say("Render has taken the order and names no deploy yet: looking it up.")
            except RenderError as trouble:
                if not trouble.uncertain:
                    raise
                self.display.say(f"{trouble} while the deploy was ordered: looking whether it has begun.")
            if deploy := self._look_up({one.id for one in known}, commit):
                return deploy
        raise RenderError(
            f"Render shows no deploy of {commit[:7]}, though it was ordered. Look into the dashboard before trying again: "
            f"{self.service.dashboard_url}"
        )

    def _look_up(self, before: set[str], commit: str) -> Deploy | None:
        """Look for a deploy of this commit that was not there before the order."""
        for _ in range(LOOKS):
            for deploy in self.service.deploys():
                # One that waits may not name its commit yet.
                if deploy.id not in before and deploy.commit in {commit, ""}:
                    return deploy
            time.sleep(self.options.deploy_poll_seconds)
        return None

    def _follow(self, deploy: Deploy) -> Deploy:
        """Return the deploy in its last state. Raises RenderError if it takes too long.

        Faults of the network and of Render do not end it: the deploy does not need us.
        """
        deadline = time.monotonic() + self.options.deploy_minutes * 60
        while (deploy := self._look_at(deploy)).status not in FINAL:
            if time.monotonic() > deadline:
                raise RenderError(
                    f"{deploy} {deploy.meaning} after {self.options.deploy_minutes:.0f} minutes. It goes on at Render; look "
                    f"there: {self.service.dashboard_url}. DEPLOY_MINUTES gives it longer."
                )
            time.sleep(self.options.deploy_poll_seconds)
        return deploy

    def _look_at(self, deploy: Deploy) -> Deploy:
        """Return the deploy as it is now, and show it; as it was if Render does not answer."""
        try:
            deploy = self.service.deploy(deploy.id)
            others = self.service.deploys() if deploy.status in WAITING else []
        except RenderError as trouble:
            if trouble.status != 0:
                raise
            self.display.show(f"{deploy}: {trouble}")
            return deploy
        busy = (one for one in others if one.id != deploy.id and one.status not in FINAL | WAITING)
        state = next((f"waits for {one}, which {one.meaning}" for one in busy), deploy.meaning)
        self.display.show(f"{deploy} {state}")
        return deploy

    def _tell_end(self, deploy: Deploy) -> None:
        """Say why a deploy is not live."""
        if deploy.status not in FAILED:
            deploys = self.service.deploys()
            ids = [one.id for one in deploys]
            later = deploys[: ids.index(deploy.id)] if deploy.id in ids else deploys
            newer = [one for one in later if one.status == "live" or one.status not in FINAL]
            why = f": superseded by {newer[0]}, which {newer[0].meaning}" if newer else ", by somebody else"
            self.display.say(f"{deploy} {deploy.meaning}{why}.")
            return
        kind, remedy = FAILED[deploy.status]
        try:
            lines = self.service.log_tail(kind) or ["(empty)"]
        except RenderError as trouble:
            lines = [f"(the log cannot be read: {trouble})"]
        log = "\n".join(f"  | {line}" for line in lines)
        title = f"{deploy} {deploy.meaning}.\nThe end of its {'build' if kind == 'build' else 'own'} log:"
        self.display.say(f"{title}\n{log}\n{remedy}")

    def _tell_what_serves(self) -> None:
        if self.service.url:
            self.display.say(f"At {self.service.url} {look(self.service.url)}.")

    def _verify(self, deploy: Deploy, before: Deploy | None) -> ExitCode:
        url, say = self.service.url, self.display.say
        if not self.options.verify or not url:
            why = "it has no public address" if self.options.verify else "VERIFY=no was given"
            say(f"{deploy} is live. Not verified: {why}.")
            return ExitCode.DONE
        say(f"{deploy} is live at {url}. Verifying it.")
        if passes(self.options, url, self.commit, self.keys, self.display, self.service.failures_since):
            say(f"Deployed: {deploy} is live and verified.")
            return ExitCode.DONE
        if not self.options.rollback:
            say(f"Not verified. ROLLBACK=no was given: {deploy} stays live.")
            return ExitCode.FAILED
        say("Not verified.")
        try:
            self._roll_back(deploy, before)
        except RenderError as trouble:
            say(f"The rollback failed: {trouble}\nDo it in the dashboard: {self.service.dashboard_url}")
            self._tell_what_serves()
        return ExitCode.FAILED

    def _roll_back(self, broken: Deploy, before: Deploy | None) -> None:
        """Go back to the deploy that was live before. Raises RenderError."""
        say, live = self.display.say, self.service.live_deploy()
        if before is None:
            say("No deploy was live before this one: there is nothing to roll back to.")
            return
        if live is not None and live.id != broken.id:
            say(f"{live} is live meanwhile, and not {broken}: it is not rolled back.")
            return
        same = " It is of the same commit: the service's settings may be wrong." * (
            before.commit == broken.commit
        )
        say(f"Rolling back to {before}.{same}")
        known, give = (
            self.service.deploys(),
            partial(self.service.order, "rollback", deployId=before.id),
        )
        with held_interrupts():
            deploy = self._order(known, before.commit, give)
        deploy = self._follow(deploy)
        if deploy.status != "live":
            raise RenderError(f"{deploy} {deploy.meaning}.")
        served = await_commit(
            self.service.url, before.commit, self.options.settle_seconds, self.options.deploy_poll_seconds
        )
        well = served.commit == before.commit and served.healthy and served.ready
        say(f"{'Rolled back' if well else 'Rolled back, and not well'}: at {self.service.url} {served}.")


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let an order be given and answered before a Ctrl-C ends anything."""
    came: list[int] = []

    def receive(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        os.write(sys.stderr.fileno(), HEARD)  # not through Python's buffers, which this may have interrupted

    before = signal.signal(signal.SIGINT, receive)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt
