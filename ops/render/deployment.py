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
from ops.render.client import FAILED, WAITING, Deploy, Render, Service
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

    render: Render
    options: Options
    service: Service
    commit: str
    #: The service's own keys, to verify it with.
    keys: Mapping[str, str]
    display: Display

    def run(self) -> ExitCode:
        """Do it all. Raises RenderError."""
        try:
            before = self.render.live_deploy(self.service)
            with held_interrupts():
                deploy = self._start()
            self.display.say(f"Deploying {self.commit[:12]} to {self.service}: {deploy.id}.")
            deploy = self._follow(deploy)
            return self._verify(deploy, before) if deploy.is_live else self._tell_end(deploy)
        except KeyboardInterrupt:
            self.display.say(
                "Interrupted: what was ordered goes on at Render, unverified. Run make deploy again to follow"
            )
            self.display.say(f"the same deploy, or cancel it in the dashboard: {self.service.dashboard_url}")
            return ExitCode.INTERRUPTED

    def _start(self) -> Deploy:
        """Start a deploy of the commit; returns it, or the one that is under way already."""
        known = self.render.deploys(self.service)
        for deploy in known:
            if deploy.commit == self.commit and not deploy.is_final:
                self.display.say(f"A deploy of this commit is under way already: {deploy}.")
                return deploy
        return self._order(known, self.commit, lambda: self.render.order_deploy(self.service, self.commit))

    def _order(self, known: list[Deploy], commit: str, give: Callable[[], Deploy | None]) -> Deploy:
        """Give an order until its deploy exists; never again while the last one may take effect.

        Raises RenderError where it is refused, or where nobody can say what became of it.
        """
        for _ in range(ATTEMPTS):
            taken = True
            try:
                if deploy := give():
                    return deploy
                self.display.say("Render has taken the order and names no deploy yet: looking it up.")
            except RenderError as trouble:
                if not trouble.uncertain:
                    raise
                taken = False
                self.display.say(f"{trouble} while the deploy was ordered: looking whether it has begun.")
            if deploy := self._look_up({one.id for one in known}, commit):
                return deploy
            if taken:
                break  # it will come: a second order would be a second deploy
        raise RenderError(
            f"Render shows no deploy of {commit[:7]}, though it was ordered. Look into the dashboard before trying again: "
            f"{self.service.dashboard_url}"
        )

    def _look_up(self, before: set[str], commit: str) -> Deploy | None:
        """Look for a deploy of this commit that was not there before the order."""
        for _ in range(LOOKS):
            for deploy in self.render.deploys(self.service):
                # One that waits may not name its commit yet.
                if deploy.id not in before and deploy.commit in {commit, ""}:
                    return deploy
            time.sleep(self.render.poll)
        return None

    def _follow(self, deploy: Deploy) -> Deploy:
        """Return the deploy in its last state. Raises RenderError if it takes too long.

        Faults of the network and of Render do not end it: the deploy does not need us.
        """
        deadline = time.monotonic() + self.options.minutes * 60
        while not (deploy := self._look_at(deploy)).is_final:
            if time.monotonic() > deadline:
                raise RenderError(
                    f"{deploy} {deploy.meaning} after {self.options.minutes:.0f} minutes. It goes on at Render; look "
                    f"there: {self.service.dashboard_url}. DEPLOY_MINUTES gives it longer."
                )
            time.sleep(self.render.poll)
        return deploy

    def _look_at(self, deploy: Deploy) -> Deploy:
        """Return the deploy as it is now, and show it; as it was if Render does not answer."""
        try:
            deploy = self.render.deploy(self.service, deploy.id)
            others = self.render.deploys(self.service) if deploy.status in WAITING else []
        except RenderError as trouble:
            if trouble.status != 0:
                raise
            self.display.show(f"{deploy}: {trouble}")
            return deploy
        busy = (one for one in others if not one.is_final and one.status not in WAITING)
        ahead = next((one for one in busy if one.id != deploy.id), None)
        state = f"waits for {ahead}, which {ahead.meaning}" if ahead else deploy.meaning
        self.display.show(f"{deploy} {state}")
        return deploy

    def _tell_end(self, deploy: Deploy) -> ExitCode:
        """Say why a deploy is not live, and what serves instead."""
        if deploy.status in FAILED:
            self._tell_failure(deploy)
        elif newer := self._newer(deploy):
            self.display.say(f"{deploy} {deploy.meaning}: superseded by {newer}, which {newer.meaning}.")
        else:
            self.display.say(f"{deploy} {deploy.meaning}, by somebody else.")
        self._tell_what_serves()
        return ExitCode.FAILED

    def _tell_failure(self, deploy: Deploy) -> None:
        kind, remedy = FAILED[deploy.status]
        try:
            lines = self.render.log_tail(self.service, kind)
        except RenderError as trouble:
            lines = [f"(the log cannot be read: {trouble})"]
        self.display.say(f"{deploy} {deploy.meaning}.")
        self.display.say(f"The end of its {'build' if kind == 'build' else 'own'} log:")
        self.display.say("\n".join(f"  | {line}" for line in lines or ["(empty)"]))
        self.display.say(remedy)

    def _newer(self, deploy: Deploy) -> Deploy | None:
        """Return the deploy that has come after this one and may succeed."""
        deploys = self.render.deploys(self.service)
        ids = [one.id for one in deploys]
        newer = deploys[: ids.index(deploy.id)] if deploy.id in ids else deploys
        return next((one for one in newer if one.is_live or not one.is_final), None)

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
        failures = partial(self.render.failures_since, self.service)
        if passes(self.options, url, self.commit, self.keys, self.display, failures):
            say(f"Deployed: {deploy} is live and verified.")
            return ExitCode.DONE
        if not self.options.roll_back:
            say(f"Not verified. ROLLBACK=no was given: {deploy} stays live.")
            return ExitCode.FAILED
        say("Not verified.")
        try:
            self._roll_back(deploy, before)
        except RenderError as trouble:
            say(f"Rolling back has failed: {trouble}")
            say(f"Do it in the dashboard: {self.service.dashboard_url}")
            self._tell_what_serves()
        return ExitCode.FAILED

    def _roll_back(self, broken: Deploy, before: Deploy | None) -> None:
        """Go back to the deploy that was live before. Raises RenderError."""
        say = self.display.say
        live = self.render.live_deploy(self.service)
        if before is None:
            say("No deploy was live before this one: there is nothing to roll back to.")
            return
        if live is not None and live.id != broken.id:
            say(f"{live} is live meanwhile, and not {broken}: it is not rolled back.")
            return
        say(f"Rolling back to {before}.")
        if before.commit == broken.commit:
            say("It is of the same commit: what is wrong may lie in the service's settings.")
        known = self.render.deploys(self.service)
        with held_interrupts():
            deploy = self._order(
                known, before.commit, lambda: self.render.order_rollback(self.service, before.id)
            )
        deploy = self._follow(deploy)
        if not deploy.is_live:
            raise RenderError(f"{deploy} {deploy.meaning}.")
        served = await_commit(self.service.url, before.commit, self.options.settle_seconds, self.options.poll)
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
