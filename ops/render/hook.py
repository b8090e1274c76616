"""A deploy by its hook, without a key.

It is started blindly, watched at the service's address, and never rolled back.
"""

from __future__ import annotations

import contextlib

from ops.render.calls import Calls, RenderError
from ops.render.display import Display
from ops.render.options import ExitCode, Options
from ops.render.served import await_commit, look, passes


def deploy_by_hook(options: Options, commit: str, display: Display) -> ExitCode:
    """Deploy a commit; everything worth knowing is said on the way. Raises RenderError."""
    before = look(options.url)
    display.say(f"At {options.url} {before}.")
    if before.commit == commit:
        display.say("It is this commit already: when the new deploy takes over cannot be seen from here.")
    deploy = _start(options, commit, display)
    display.say(f"Deploying {commit[:12]} by its hook: {deploy or 'Render names no deploy'}.")
    try:
        limit, poll = options.minutes * 60, options.poll
        served = await_commit(
            options.url, commit, limit, poll, lambda seen: display.show(f"waiting for {commit[:7]}: {seen}")
        )
        if served.commit != commit or not served.ready:
            raise RenderError(
                f"{commit[:7]} does not answer at {options.url} after {options.minutes:.0f} minutes: {served}. A hook "
                "tells nothing more: look into the dashboard. It is not rolled back, which takes a RENDER_API_KEY."
            )
        if not options.verify:
            display.say(f"{commit[:12]} answers. Not verified: VERIFY=no was given.")
            return ExitCode.DONE
        passed = passes(options, options.url, commit, options.keys, display)
    except KeyboardInterrupt:
        display.say("Interrupted: the deploy goes on at Render. A hook cannot cancel it; the dashboard can.")
        return ExitCode.INTERRUPTED
    if passed:
        display.say(f"Deployed: {commit[:12]} answers at {options.url} and is verified.")
        return ExitCode.DONE
    display.say(
        "Not verified, and not rolled back: that takes a RENDER_API_KEY. Roll back in the dashboard (Events, Rollback)."
    )
    return ExitCode.FAILED


def _start(options: Options, commit: str, display: Display) -> str | None:
    """Have a commit deployed; return the deploy's id, or None if the hook answers without.

    Raises RenderError, never with the hook in it, which is a secret.
    """
    try:
        with contextlib.closing(Calls(options.hook or "", None, options.poll, display.say)) as calls:
            answer = calls.order(f"{options.hook}&ref={commit}")
    except RenderError as fault:
        if fault.uncertain:
            display.say(f"{fault}: watching whether the hook was heard.")
            return None
        raise _refusal(fault) from None
    deploy = answer.get("deploy") if isinstance(answer, dict) else None
    return str(deploy.get("id")) if isinstance(deploy, dict) else None


def _refusal(fault: RenderError) -> RenderError:
    if fault.status in {401, 403, 404}:
        return RenderError(
            f"Render does not know this RENDER_DEPLOY_HOOK ({fault.status}): copy it again from the service's Settings."
        )
    if fault.status:
        return RenderError(
            f"The hook refuses with {fault.status}: is the commit pushed to the service's repository?"
        )
    return RenderError(f"{fault} No deploy was started.")
