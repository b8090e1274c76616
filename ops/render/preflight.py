"""`python -m ops.render.preflight`: all checks before a deploy; exits with 1 if any fails.

With RENDER_API_KEY Render validates the blueprint as well. IMAGE=no leaves the image out, which takes two minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ops.models.folder import verify_models
from ops.render.blueprint import ALLOWS, Blueprint, Fault, read_blueprint
from ops.render.calls import RenderError
from ops.render.client import Render
from ops.render.display import Display, run_tool
from ops.render.image_trial import check_image
from ops.render.options import ExitCode, Options
from ops.render.repository import check_pushed, check_tree
from ops.verify.report import CheckResult, FailedError, Verdict, make_check, table
from ops.verify.visit import ignore_progress
from shared.models.version import version_folders

#: The blueprint of one container; further ones lie in ops/render.
BLUEPRINT = "render.yaml"
#: Attempts to have Render look at a blueprint: our own rules hold without it.
ATTEMPTS = 2


def run_preflight(options: Options, root: Path) -> list[CheckResult]:
    """Make every check, one after the other; none keeps another from being made."""
    paths, allowed = [root / BLUEPRINT, *(root / "ops/render").glob("*.yaml")], options.allow_fallback_model
    blueprints = [read_blueprint(path, root, fallback_allowed=allowed) for path in paths]
    checks: list[tuple[str, Callable[[], str]]] = [
        ("tree", partial(check_tree, root)),
        ("pushed", partial(check_pushed, root)),
        ("models", partial(check_models, root / "models", fallback_allowed=allowed)),
        *[("blueprint", partial(check_blueprint, one, options)) for one in blueprints],
    ]
    if options.image:
        checks.append(("image", partial(check_image, blueprints[0], root)))
    return [_make(name, check) for name, check in checks]


def _make(name: str, check: Callable[[], str]) -> CheckResult:
    def unexpected(fault: Exception) -> FailedError:
        return FailedError(f"{type(fault).__name__}: {fault}", "This is a fault of the check itself.")

    started = time.monotonic()
    return replace(make_check(name, check, unexpected), seconds=time.monotonic() - started)


def check_models(models_dir: Path, *, fallback_allowed: bool) -> str:
    """Check every model as boot will, and try it. Raises FailedError."""
    faults, _ = verify_models(models_dir)
    if not faults:
        return f"{len(list(version_folders(models_dir)))} verified: files, hashes, a prediction of each"
    seen = "; ".join(f"{fault.model}: {fault.what}" for fault in faults)
    if fallback_allowed:
        return f"placeholders will answer, as {ALLOWS} allows: {seen}"
    raise FailedError(seen, _joined(fault.remedy for fault in faults))


def check_blueprint(blueprint: Blueprint, options: Options) -> str:
    """Check it by our own rules, and by Render's where a key is given. Raises FailedError."""
    faults, how = list(blueprint.faults), "Render was not asked, which takes a RENDER_API_KEY"
    if options.api_key:
        render = Render(
            options.host, options.api_key, options.deploy_poll_seconds, ignore_progress, attempts=ATTEMPTS
        )
        try:
            faults += _ask_render(blueprint, render, options.service)
            how = "and by Render's"
        except (RenderError, OSError) as trouble:
            how = f"Render could not be asked: {trouble}"
        finally:
            render.close()
    if faults:
        raise FailedError("\n".join(map(str, faults)), _joined(fault.remedy for fault in faults))
    return f"{blueprint.path.name} is valid by its rules; {how}"


def _ask_render(blueprint: Blueprint, render: Render, service: str) -> list[Fault]:
    """Have Render look at it; returns what it finds. Raises RenderError."""
    found = render.find_service(service) if service else None
    workspaces = [found.owner_id] if found else render.workspaces()
    if len(workspaces) != 1:
        raise RenderError(f"the key sees {len(workspaces)} workspaces: name one by SERVICE")
    told = render.blueprint_faults(workspaces[0], blueprint.path.name, blueprint.path.read_bytes())
    return [Fault("Render", what, "Correct what Render refuses.") for what in told]


def _joined(remedies: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(remedies))


def passed(results: Sequence[CheckResult]) -> bool:
    """Return whether nothing failed."""
    return all(result.verdict is not Verdict.FAIL for result in results)


def preflight(environment: Mapping[str, str], display: Display, root: Path) -> ExitCode:
    """Check everything before a deploy, and print what must be corrected.

    Raises SettingsError.
    """
    service = read_blueprint(root / BLUEPRINT, root).web_service
    options = Options.read(environment, service, deploying=False)
    display.hide(*options.secrets)
    results = run_preflight(options, root)
    display.say(table(results))
    return ExitCode.DONE if passed(results) else ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(run_tool(preflight))
