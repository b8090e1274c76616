"""A deploy by its hook from end to end, with less information and without a rollback."""

from __future__ import annotations

from ops.render.deploy.address import look
from ops.render.deploy.display import Display
from ops.render.deploy.hook import await_by_address, start_by_hook
from ops.render.deploy.options import DeployOptions
from ops.render.deploy.run import ExitCode
from ops.render.deploy.verification import Verification


def run_by_hook(options: DeployOptions, commit: str, display: Display) -> ExitCode:
    """Deploy a commit; everything worth knowing is said on the way. Raises RenderError."""
    before = look(options.url)
    display.say(f"At {options.url} {before}.")
    if before.commit == commit:
        display.say("It is this commit already: when the new deploy takes over cannot be seen from here.")
    deploy = start_by_hook(options.hook or "", commit, options.patience, display)
    display.say(f"Deploying {commit[:12]} by its hook: {deploy or 'Render names no deploy'}.")
    try:
        await_by_address(options, commit, display)
        if not options.verify:
            display.say(f"{commit[:12]} answers. Not verified: VERIFY=no was given.")
            return ExitCode.DEPLOYED
        passed = Verification(options, options.url, commit, options.keys, display).passes()
    except KeyboardInterrupt:
        display.close()
        display.say("Interrupted: the deploy goes on at Render. A hook cannot cancel it; the dashboard can.")
        return ExitCode.INTERRUPTED
    if passed:
        display.say(f"Deployed: {commit[:12]} answers at {options.url} and is verified.")
        return ExitCode.DEPLOYED
    display.say(
        "Not verified, and not rolled back: that takes a RENDER_API_KEY. Roll back in the dashboard (Events, Rollback)."
    )
    return ExitCode.FAILED
