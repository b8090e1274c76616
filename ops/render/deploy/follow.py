"""Watches a deploy until its end, through faults of the network, of Render, and Ctrl-C."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ops.render.api import RenderApi
from ops.render.deploy.display import Display
from ops.render.deploy.interrupts import Interrupts, LeftRunningError, wants_cancel
from ops.render.deploys import WAITING, Deploy
from ops.render.errors import NoAnswerError, RefusedError, RenderError, UncertainError
from ops.render.service import Service


class TooLongError(RenderError):
    """The deploy goes on at Render after all the time that it was given here."""


@dataclass(slots=True)
class Watch:
    """Follows one service's deploys. `minutes` is what each of them may take."""

    api: RenderApi
    service: Service
    display: Display
    interrupts: Interrupts
    minutes: float
    #: Whether the person at the keyboard has stopped it.
    canceled_here: bool = False

    def follow(self, deploy: Deploy) -> Deploy:
        """Return the deploy in its last state.

        Ctrl-C asks whether to cancel it. Raises LeftRunningError if the asker leaves, TooLongError, or RenderError.
        """
        deadline = time.monotonic() + self.minutes * 60
        while True:
            try:
                self.interrupts.raise_pending()
                return self._until_final(deploy, deadline)
            except KeyboardInterrupt:
                self.display.keep()
                self._ask(deploy)

    def _until_final(self, deploy: Deploy, deadline: float) -> Deploy:
        while True:
            try:
                deploy = self.api.deploy(self.service, deploy.id)
                self.display.show(f"{deploy} {self._state(deploy)}")
            except NoAnswerError as trouble:
                # The deploy does not need us. Only the time that it was given ends the watch.
                self.display.show(f"{deploy}: {trouble}")
            if deploy.is_final:
                self.display.keep()
                return deploy
            if time.monotonic() > deadline:
                self.display.keep()
                raise TooLongError(
                    f"{deploy} {deploy.meaning} after {self.minutes:.0f} minutes. It goes on at Render; look there: "
                    f"{self.service.dashboard_url or self.service.name}. DEPLOY_MINUTES gives it longer."
                )
            time.sleep(self.api.patience.poll)

    def _state(self, deploy: Deploy) -> str:
        ahead = self._ahead_of(deploy) if deploy.status in WAITING else None
        return f"waits for {ahead}, which {ahead.meaning}" if ahead else deploy.meaning

    def _ahead_of(self, deploy: Deploy) -> Deploy | None:
        """Return the deploy that this one waits for."""
        others = [other for other in self.api.deploys(self.service) if other.id != deploy.id]
        return next((other for other in others if not other.is_final and other.status not in WAITING), None)

    def _ask(self, deploy: Deploy) -> None:
        """Ask whether to cancel, and do it. Raises LeftRunningError."""
        if self.canceled_here or not wants_cancel(str(deploy), self.display.say):
            if self.canceled_here:
                raise LeftRunningError("You have left")
            return
        try:
            with self.interrupts.held():
                self.api.cancel(self.service, deploy.id)
            self.display.say("Render was asked to cancel it.")
        except (UncertainError, RefusedError) as trouble:
            # It may just have ended, or the order may have arrived: its state will tell.
            self.display.say(f"Whether it is canceled is not known: {trouble}")
        self.canceled_here = True
