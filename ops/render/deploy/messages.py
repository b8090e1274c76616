"""The messages of a deploy that is not live: why, and what serves instead."""

from __future__ import annotations

from ops.render.api import RenderApi
from ops.render.deploy.address import look
from ops.render.deploy.display import Display
from ops.render.deploys import FAILED, Deploy, Status
from ops.render.errors import RenderError
from ops.render.service import Service

#: The remedy for each kind of failure.
REMEDIES = {
    Status.BUILD_FAILED: "Mend what the log says; make image builds the same image here.",
    Status.PRE_DEPLOY_FAILED: "The blueprint has no pre-deploy command: take it out of the service's settings.",
    Status.UPDATE_FAILED: "Boot says what it refuses, in the log above. make up runs the same image here.",
}


def tell_failure(api: RenderApi, service: Service, deploy: Deploy, display: Display) -> None:
    """Show the end of the log of a failed deploy, the remedy, and what serves now."""
    display.say(f"{deploy} {deploy.meaning}.")
    kind = FAILED.get(Status(deploy.status), "app")
    try:
        lines = api.log_tail(service, kind)
    except RenderError as trouble:
        lines = [f"(the log cannot be read: {trouble})"]
    display.say(f"The end of its {'build' if kind == 'build' else 'own'} log:")
    display.say("\n".join(f"  | {line}" for line in lines) or "  | (empty)")
    display.say(REMEDIES[Status(deploy.status)])
    tell_what_serves(service, display)


def tell_stopped(
    api: RenderApi, service: Service, deploy: Deploy, display: Display, *, canceled_here: bool
) -> None:
    """Say why a deploy was stopped, or has been replaced, before anybody looked at it."""
    newer = None if canceled_here else _newer(api, service, deploy)
    if newer is not None:
        display.say(f"{deploy} {deploy.meaning}: superseded by {newer}, which {newer.meaning}.")
    else:
        display.say(
            f"{deploy} {deploy.meaning}{', as you asked' if canceled_here else ', by somebody else'}."
        )
    tell_what_serves(service, display)


def tell_what_serves(service: Service, display: Display) -> None:
    """Say what answers at the service's address."""
    if service.url:
        display.say(f"At {service.url} {look(service.url)}.")


def _newer(api: RenderApi, service: Service, deploy: Deploy) -> Deploy | None:
    """Return the deploy that has come after this one and may succeed."""
    newer = []
    for other in api.deploys(service):
        if other.id == deploy.id:
            break
        newer.append(other)
    return next((other for other in newer if other.is_live or not other.is_final), None)
