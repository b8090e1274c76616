"""A deploy by its hook, without a key: started blindly, watched at the service's address."""

from __future__ import annotations

import time

import httpx

from ops.render.deploy.address import look
from ops.render.deploy.display import Display
from ops.render.deploy.options import DeployOptions
from ops.render.errors import KeyRefusedError, NoAnswerError, RefusedError, RenderError
from ops.render.patience import Patience, asked_to_wait
from ops.render.transport import NOT_SENT


def start_by_hook(hook: str, commit: str, patience: Patience, display: Display) -> str | None:
    """Have a commit deployed; return the deploy's id, or None if the hook did not answer.

    Raises RenderError. Nothing raised here holds the hook, which is a secret.
    """
    separator = "&" if "?" in hook else "?"
    trouble = "Render cannot be reached"
    for wait in [*patience.waits(), None]:
        answer: httpx.Response | None = None
        try:
            answer = httpx.post(f"{hook}{separator}ref={commit}", timeout=patience.call)
        except NOT_SENT as fault:
            trouble = f"Render cannot be reached ({type(fault).__name__})"
        except httpx.HTTPError as fault:
            display.say(f"The hook does not answer ({type(fault).__name__}): watching whether it was heard.")
            return None
        if answer is not None and answer.status_code != 429:
            return _deploy_id(answer, display)
        asked = asked_to_wait(answer.headers) if answer is not None else None
        if wait is None or (asked or 0.0) > patience.longest_limit:
            break
        display.say(
            f"{'Render answers 429, too many calls' if answer is not None else trouble}: trying again."
        )
        time.sleep(wait if asked is None else asked)
    raise NoAnswerError(f"{trouble}. No deploy was started: try again later.")


def await_by_address(options: DeployOptions, commit: str, display: Display) -> None:
    """Wait until the commit answers at the service's address. Raises RenderError if late."""
    deadline = time.monotonic() + options.minutes * 60
    while True:
        served = look(options.url)
        display.show(f"waiting for {commit[:7]}: {served}")
        if served.commit == commit and served.ready:
            display.keep()
            return
        if time.monotonic() > deadline:
            display.keep()
            raise RenderError(
                f"{commit[:7]} does not answer at {options.url} after {options.minutes:.0f} minutes: {served}. A hook "
                "tells nothing more: look into the dashboard. It is not rolled back, which takes a RENDER_API_KEY."
            )
        time.sleep(options.patience.poll)


def _deploy_id(answer: httpx.Response, display: Display) -> str | None:
    """Read the hook's answer. Raises RenderError if it refuses."""
    if answer.status_code in {401, 403, 404}:
        raise KeyRefusedError(
            f"Render does not know this RENDER_DEPLOY_HOOK ({answer.status_code}): copy it again from the service's Settings."
        )
    if answer.status_code >= 500:
        display.say(f"The hook answers {answer.status_code}: watching whether it was heard.")
        return None
    if answer.status_code >= 400:
        raise RefusedError(
            f"The hook refuses with {answer.status_code}: is the commit pushed to the service's repository?"
        )
    try:
        return str(answer.json()["deploy"]["id"])
    except (ValueError, KeyError, TypeError):
        return None
