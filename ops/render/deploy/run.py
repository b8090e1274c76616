"""One deploy from its order to its verification, and back again where that fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ops.render.api import RenderApi
from ops.render.deploy.creation import how_to_create
from ops.render.deploy.display import Display
from ops.render.deploy.follow import Watch
from ops.render.deploy.interrupts import Interrupts, LeftRunningError
from ops.render.deploy.messages import tell_failure, tell_stopped, tell_what_serves
from ops.render.deploy.options import DeployOptions
from ops.render.deploy.order import Orders
from ops.render.deploy.rollback import Rollback
from ops.render.deploy.verification import Verification
from ops.render.deploys import Deploy
from ops.render.errors import RenderError
from ops.render.preflight.repository import Repository
from ops.render.redactor import Redactor
from ops.render.service import Service
from shared.settings import KEY_NAMES


class ExitCode(IntEnum):
    """How it ended, as an exit code."""

    DEPLOYED = 0
    FAILED = 1
    UNUSABLE = 2
    INTERRUPTED = 130


@dataclass(slots=True)
class DeployRun:
    """Deploys one commit to one service through Render's API."""

    api: RenderApi
    options: DeployOptions
    commit: str
    repository: Repository
    display: Display
    redactor: Redactor
    interrupts: Interrupts = field(default_factory=Interrupts)

    def run(self) -> ExitCode:
        """Do it all; everything worth knowing is said on the way. Raises RenderError."""
        service = self.api.find_service(self.options.service)
        if service is None:
            self.display.say(how_to_create(self.options.service, self.repository.remote()))
            return ExitCode.FAILED
        if service.suspended:
            raise RenderError(
                f"{service} is suspended: resume it in the dashboard ({service.dashboard_url})."
            )
        service = replace(service, url=self.options.url or service.url)
        keys = self._keys(service)
        with self.interrupts.watched():
            return self._deploy(service, keys)

    def _deploy(self, service: Service, keys: Mapping[str, str]) -> ExitCode:
        watch = Watch(self.api, service, self.display, self.interrupts, self.options.minutes)
        orders = Orders(self.api, service, self.display)
        before = self.api.live_deploy(service)
        with self.interrupts.held():
            deploy = orders.deploy(self.commit)
        self.display.say(f"Deploying {self.commit[:12]} to {service}: {deploy.id}.")
        try:
            deploy = watch.follow(deploy)
        except LeftRunningError as left:
            self.display.say(f"{left}: {deploy.id} goes on at Render, unverified.")
            return ExitCode.INTERRUPTED
        if deploy.is_live:
            return self._verify(
                service, deploy, keys, Rollback(orders, watch, deploy, before, self.options.settle_seconds)
            )
        if deploy.has_failed:
            tell_failure(self.api, service, deploy, self.display)
            return ExitCode.FAILED
        tell_stopped(self.api, service, deploy, self.display, canceled_here=watch.canceled_here)
        return ExitCode.INTERRUPTED if watch.canceled_here else ExitCode.FAILED

    def _verify(
        self, service: Service, deploy: Deploy, keys: Mapping[str, str], rollback: Rollback
    ) -> ExitCode:
        if not self.options.verify or not service.url:
            why = "it has no public address" if self.options.verify else "VERIFY=no was given"
            self.display.say(f"{deploy} is live. Not verified: {why}.")
            return ExitCode.DEPLOYED
        self.display.say(f"{deploy} is live at {service.url}. Verifying it.")
        verification = Verification(
            self.options,
            service.url,
            self.commit,
            keys,
            self.display,
            lambda since: self.api.failures_since(service, since),
        )
        try:
            passed = verification.passes()
        except KeyboardInterrupt:
            self.display.close()
            self.display.say(f"Interrupted: {deploy} stays live, and is not verified.")
            return ExitCode.INTERRUPTED
        if passed:
            self.display.say(f"Deployed: {deploy} is live and verified.")
            return ExitCode.DEPLOYED
        return self._take_back(service, rollback)

    def _take_back(self, service: Service, rollback: Rollback) -> ExitCode:
        if not self.options.roll_back:
            self.display.say(f"Not verified. ROLLBACK=no was given: {rollback.broken} stays live.")
            return ExitCode.FAILED
        self.display.say("Not verified.")
        try:
            rollback.run()
        except LeftRunningError as left:
            self.display.say(f"{left}: the rollback goes on at Render.")
            tell_what_serves(service, self.display)
            return ExitCode.INTERRUPTED
        except RenderError as trouble:
            self.display.say(f"Rolling back has failed: {trouble}")
            self.display.say(f"Do it in the dashboard: {service.dashboard_url or service.name}")
            tell_what_serves(service, self.display)
        return ExitCode.FAILED

    def _keys(self, service: Service) -> dict[str, str]:
        """Return the keys to verify with: the service's own, else those given. Raises RenderError.

        The service's come first, because a key in this environment may be another appliance's, and a deploy must not
        be taken back for that.
        """
        if not self.options.verify or not service.url:
            return {}
        theirs = self.api.variables(service)
        keys = {**self.options.keys, **{name: theirs[name] for name in KEY_NAMES if theirs.get(name)}}
        self.redactor.add(*keys.values())
        if missing := [name for name in KEY_NAMES if name not in keys]:
            raise RenderError(
                f"{', '.join(missing)}: neither set here nor to be read from {service}, and verifying takes them. Copy "
                "them from its Environment page (NAME or NAME_FILE), or give VERIFY=no."
            )
        return keys
