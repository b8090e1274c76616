"""Orders to Render that must be given exactly once, even if the network fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.render.api import RenderApi
from ops.render.deploy.display import Display
from ops.render.deploys import Deploy
from ops.render.errors import NoAnswerError, UncertainError
from ops.render.service import Service

#: Orders that may be given if the ones before certainly came to nothing.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Orders:
    """Gives orders for one service."""

    api: RenderApi
    service: Service
    display: Display

    def deploy(self, commit: str) -> Deploy:
        """Start a deploy of a commit; returns it, or the one that is under way already."""
        known = self.api.deploys(self.service)
        for deploy in known:
            if deploy.commit == commit and not deploy.is_final:
                self.display.say(f"A deploy of this commit is under way already: {deploy}.")
                return deploy
        return self._once(known, commit, lambda: self.api.order_deploy(self.service, commit))

    def roll_back(self, target: Deploy) -> Deploy:
        """Have an earlier deploy made live again; returns the deploy that does it."""
        known = self.api.deploys(self.service)
        return self._once(known, target.commit, lambda: self.api.order_rollback(self.service, target.id))

    def _once(self, known: list[Deploy], commit: str, give: Callable[[], Deploy | None]) -> Deploy:
        """Give an order until its deploy exists; never again while the last one may take effect.

        Raises RenderError where it is refused, or where nobody can say what became of it.
        """
        for _ in range(ATTEMPTS):
            taken = True
            try:
                deploy = give()
            except UncertainError as trouble:
                taken, deploy = False, None
                self.display.say(f"{trouble} while the deploy was ordered: looking whether it has begun.")
            if deploy is None:
                if taken:
                    self.display.say("Render has taken the order and names no deploy yet: looking it up.")
                deploy = self._look_up(known, commit)
            if deploy is not None:
                return deploy
            if taken:
                break  # it will come: a second order would be a second deploy
        raise NoAnswerError(
            f"Render shows no deploy of {commit[:7]}, though it was ordered. Look into the dashboard before trying again: "
            f"{self.service.dashboard_url or self.service.name}"
        )

    def _look_up(self, known: list[Deploy], commit: str) -> Deploy | None:
        """Look for a deploy of this commit that was not there before the order."""
        before = {deploy.id for deploy in known}
        for _ in range(self.api.patience.looks):
            for deploy in self.api.deploys(self.service):
                # One that waits may not name its commit yet.
                if deploy.id not in before and deploy.commit in {commit, ""}:
                    return deploy
            time.sleep(self.api.patience.poll)
        return None
