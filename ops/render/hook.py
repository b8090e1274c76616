"""A deploy by its hook, without a key: watched at the service's address, never rolled back."""

from __future__ import annotations

import contextlib

from ops.render.calls import Calls, RenderError
from ops.render.display import Display
from ops.render.options import ExitCode, Options
from ops.render.served import await_commit, look, passes


def deploy_by_hook(options: Options, commit: str, display: Display) -> ExitCode:
    """Deploy a commit; everything worth knowing is said on the way. Raises RenderError."""
    url, say = options.url, display.say
    if look(url).commit == commit:
        say("It is this commit already: when the new deploy takes over cannot be seen from here.")
    _order(options, commit, display)
    try:
        served = await_commit(
            url, commit, options.deploy_minutes * 60, options.deploy_poll_seconds, display.show
        )
        if served.commit != commit or not served.ready:
            raise RenderError(
                f"{commit[:7]} does not answer at {url} after {options.deploy_minutes:.0f} minutes: {served}. A hook tells "
                "nothing more: look into the dashboard. It is not rolled back, which takes a RENDER_API_KEY."
            )
        if not options.verify:
            say(f"{commit[:12]} answers. Not verified: VERIFY=no was given.")
            return ExitCode.DONE
        if passes(options, url, commit, options.keys, display):
            say(f"Deployed: {commit[:12]} answers at {url} and is verified.")
            return ExitCode.DONE
    except KeyboardInterrupt:
        say("Interrupted: the deploy goes on at Render. A hook cannot cancel it; the dashboard can.")
        return ExitCode.INTERRUPTED
    say(
        "Not verified, and not rolled back: that takes a RENDER_API_KEY. Roll back in the dashboard (Events)."
    )
    return ExitCode.FAILED


def _order(options: Options, commit: str, display: Display) -> None:
    """Have a commit deployed. Raises RenderError, never with the hook in it, which is a secret."""
    try:
        with contextlib.closing(
            Calls(options.hook or "", None, options.deploy_poll_seconds, display.say)
        ) as calls:
            calls.order(f"{options.hook}&ref={commit}")
        display.say(f"Deploying {commit[:12]} by its hook.")
    except RenderError as fault:
        if fault.uncertain:
            display.say(f"{fault}: watching whether the hook was heard.")
        elif fault.status in {401, 403, 404}:
            raise RenderError(
                f"Render does not know this RENDER_DEPLOY_HOOK ({fault.status}): copy it again from its Settings."
            ) from None
        else:
            raise RenderError(f"{fault} No deploy was started. Is the commit pushed?") from None
