"""Back to the deploy that was live before, where the new one is no good."""

from __future__ import annotations

from dataclasses import dataclass

from ops.render.deploy.address import await_commit
from ops.render.deploy.follow import Watch
from ops.render.deploy.order import Orders
from ops.render.deploys import Deploy


@dataclass(frozen=True, slots=True)
class Rollback:
    """From `broken` back to `before`, the deploy that was live when `broken` was ordered."""

    orders: Orders
    watch: Watch
    broken: Deploy
    before: Deploy | None
    #: Seconds in which the earlier deploy must answer once it is live again.
    settle_seconds: float

    def run(self) -> bool:
        """Do it and say how it went; True if the earlier deploy answers again. Raises RenderError."""
        say = self.orders.display.say
        service = self.orders.service
        if self.before is None:
            say("No deploy was live before this one: there is nothing to roll back to.")
            return False
        live = self.orders.api.live_deploy(service)
        if live is not None and live.id != self.broken.id:
            say(f"{live} is live meanwhile, and not {self.broken}: it is not rolled back.")
            return False
        say(f"Rolling back to {self.before}.")
        if self.before.commit == self.broken.commit:
            say("It is of the same commit: what is wrong may lie in the service's settings.")
        with self.watch.interrupts.held():
            deploy = self.orders.roll_back(self.before)
        deploy = self.watch.follow(deploy)
        if not deploy.is_live:
            say(f"Rolling back has failed: {deploy} {deploy.meaning}. Roll back in the dashboard:")
            say(f"  {service.dashboard_url or service.name}")
            return False
        return self._answers(deploy)

    def _answers(self, deploy: Deploy) -> bool:
        """See that the earlier commit answers, healthy and ready."""
        say, service = self.orders.display.say, self.orders.service
        if not service.url or self.before is None:
            say(f"Rolled back: {deploy} is live. It has no public address to look at.")
            return True
        poll = self.orders.api.patience.poll
        served = await_commit(service.url, self.before.commit, self.settle_seconds, poll)
        well = served.commit == self.before.commit and served.healthy and served.ready
        say(f"{'Rolled back' if well else 'Rolled back, and not well'}: at {service.url} {served}.")
        return well
