"""`python -m ops.render.deploy`: deploys the checked-out commit to Render and verifies it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.render.blueprint import read_blueprint
from ops.render.calls import RenderError
from ops.render.client import Render, Service
from ops.render.deployment import Deployment
from ops.render.display import Display, run_tool
from ops.render.hook import deploy_by_hook
from ops.render.options import ExitCode, Options
from ops.render.preflight import BLUEPRINT, passed, run_preflight
from ops.render.repository import git
from ops.verify.report import table
from shared.settings import KEY_NAMES

#: Names whose values make passes on in its own arguments, which everybody on the machine can read.
SECRET_NAMES = ("RENDER_API_KEY=", "RENDER_DEPLOY_HOOK=")
HOW_TO_CREATE = """This key sees no service called {service}. Create it once:
  1. Open https://dashboard.render.com/blueprint/new?repo=ADDRESS-OF-YOUR-REPOSITORY
     and connect the repository (Render asks for the right to read it).
  2. Leave the path at render.yaml, name the Blueprint, and press Apply. It makes the service, its disk and keys.
  3. Run make deploy again.
If it exists under another name: make deploy SERVICE=NAME-OR-ID.
If another workspace has it: take a key that sees that one."""


def deploy(environment: Mapping[str, str], display: Display, root: Path) -> ExitCode:
    """Check everything, then deploy the commit that is checked out, and verify it.

    Raises SettingsError or RenderError.
    """
    if any(name in environment.get("MAKEFLAGS", "") for name in SECRET_NAMES):
        display.say(
            "Warning: make's own command line shows this secret to all users here: export it instead."
        )
    service = read_blueprint(root / BLUEPRINT, root).web_service
    options = Options.read(environment, service, deploying=True)
    display.hide(*options.secrets)
    if options.preflight:
        results = run_preflight(options, root)
        display.say(f"Preflight:\n{table(results)}")
        if not passed(results):
            raise RenderError("Nothing was deployed.")
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        raise RenderError("There is no commit here to deploy: deploy from a clone of the repository.")
    if options.api_key is None:
        return deploy_by_hook(options, commit, display)
    with contextlib.closing(
        Render(options.host, options.api_key, options.deploy_poll_seconds, display.show)
    ) as render:
        found = render.find_service(options.service)
        if found is None:
            raise RenderError(HOW_TO_CREATE.format(service=options.service))
        if found.suspended:
            raise RenderError(
                f"{found.name} is suspended: resume it in the dashboard ({found.dashboard_url})."
            )
        found.url = options.url or found.url
        keys = _keys(found, options, display) if options.verify and found.url else {}
        return Deployment(options, found, commit, keys, display).run()


def _keys(service: Service, options: Options, display: Display) -> dict[str, str]:
    """Return the keys to verify with: the service's own, else those given. Raises RenderError.

    The service's come first, because a key in this environment may be another appliance's, and a deploy must not be
    taken back for that.
    """
    theirs = service.variables()
    keys = {**options.keys, **{name: theirs[name] for name in KEY_NAMES if theirs.get(name)}}
    display.hide(*keys.values())
    if missing := [name for name in KEY_NAMES if name not in keys]:
        raise RenderError(
            f"{', '.join(missing)}: neither set here nor to be read from {service.name}, and verifying takes them. Copy "
            "them from its Environment page (NAME or NAME_FILE), or give VERIFY=no."
        )
    return keys


if __name__ == "__main__":
    sys.exit(run_tool(deploy))
