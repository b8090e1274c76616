"""`python -m ops.render.preflight`: all checks before a deploy; exits with 1 if any fails.

With RENDER_API_KEY Render validates the blueprint as well. IMAGE=no leaves the image out, which takes two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ops.models.folder import verify_models
from ops.render.blueprint import Blueprint, Fault, read_blueprint
from ops.render.calls import RenderError
from ops.render.client import Render
from ops.render.display import Display
from ops.render.image_trial import check_image
from ops.render.options import ON, ExitCode, Options
from ops.render.repository import Repository, check_pushed, check_tree
from ops.verify.report import CheckResult, FailedError, NotCheckedError, Verdict, make_check, table
from shared.build import ROOT
from shared.errors import SettingsError
from shared.models.version import version_folders

#: The blueprint of one container; further ones lie in ops/render.
BLUEPRINT = "render.yaml"
#: The setting that allows placeholders.
ALLOWS = "ALLOW_FALLBACK_MODEL"
#: Attempts to have Render look at a blueprint: our own rules hold without it.
ATTEMPTS = 2
_OURS = "This is a fault of the check itself."


def run_preflight(options: Options, root: Path = ROOT) -> list[CheckResult]:
    """Make every check, one after the other; none keeps another from being made."""
    with contextlib.ExitStack() as stack:
        render = None
        if options.api_key:
            render = Render(options.host, options.api_key, options.poll, attempts=ATTEMPTS)
            stack.callback(render.close)
        return [_make(name, check) for name, check in _checks(options, root, render)]


def _make(name: str, check: Callable[[], str]) -> CheckResult:
    started = time.monotonic()
    result = make_check(name, check, lambda fault: FailedError(f"{type(fault).__name__}: {fault}", _OURS))
    return replace(result, seconds=time.monotonic() - started)


def _checks(options: Options, root: Path, render: Render | None) -> list[tuple[str, Callable[[], str]]]:
    repository, allowed = Repository(root), options.fallback_allowed
    others = sorted((root / "ops" / "render").glob("*.yaml"))
    blueprint, *_ = blueprints = [read_blueprint(path, root) for path in (root / BLUEPRINT, *others)]
    return [
        ("tree", partial(check_tree, repository)),
        ("pushed", partial(check_pushed, repository)),
        ("models", partial(check_models, root / "models", fallback_allowed=allowed)),
        ("no placeholders", partial(check_fallback, blueprint, fallback_allowed=allowed)),
        *[("blueprint", partial(check_blueprint, one, render, options.service)) for one in blueprints],
        ("image", partial(check_image, blueprint, root) if options.image else _leave_out_image),
    ]


def _leave_out_image() -> str:
    raise NotCheckedError("IMAGE=no was given: neither built nor tried.")


def check_models(models_dir: Path, *, fallback_allowed: bool) -> str:
    """Check every model as boot will, and try it. Raises FailedError."""
    faults, _ = verify_models(models_dir)
    if not faults:
        return f"{len(list(version_folders(models_dir)))} verified: files, hashes, a prediction of each"
    seen = "; ".join(f"{fault.model}: {fault.what}" for fault in faults)
    if fallback_allowed:
        return f"placeholders will answer, as {ALLOWS} allows: {seen}"
    raise FailedError(seen, "\n".join(dict.fromkeys(fault.remedy for fault in faults)))


def check_fallback(blueprint: Blueprint, *, fallback_allowed: bool) -> str:
    """Check that no service starts with placeholders unless that is allowed here.

    Raises FailedError.
    """
    values = {name: blueprint.variables(name).get(ALLOWS, "").lower() for name in blueprint.services}
    allowing = ", ".join(name for name, value in values.items() if value in ON)
    if allowing and not fallback_allowed:
        raise FailedError(
            f"{allowing} would start with placeholders for broken models ({ALLOWS}).",
            f"Take {ALLOWS} out of {blueprint.path.name}, or say that you want it: {ALLOWS}=true.",
        )
    return "allowed here" if fallback_allowed else "a broken model is refused at boot"


def check_blueprint(blueprint: Blueprint, render: Render | None, service: str) -> str:
    """Check a blueprint by our own rules, and by Render's where a key is given.

    Raises FailedError.
    """
    theirs: list[str] = []
    how = "by its rules; Render was not asked, which takes a RENDER_API_KEY"
    if render is not None:
        try:
            theirs, how = _ask_render(blueprint, render, service)
        except (RenderError, OSError) as trouble:
            how = f"by its rules; Render could not be asked: {trouble}"
    told = [Fault("Render", what, "Mend what Render refuses.") for what in theirs]
    if faults := [*blueprint.faults, *told]:
        remedies = "\n".join(dict.fromkeys(fault.remedy for fault in faults))
        raise FailedError("\n".join(map(str, faults)), remedies)
    return f"{blueprint.path.name} is valid {how}"


def _ask_render(blueprint: Blueprint, render: Render, service: str) -> tuple[list[str], str]:
    """Have Render look at it; returns what it finds, and how that was come by."""
    found = render.find_service(service) if service else None
    workspaces = [found.owner_id] if found else render.workspaces()
    if len(workspaces) != 1:
        return [], f"by its rules; the key sees {len(workspaces)} workspaces: name one by SERVICE"
    content = blueprint.path.read_bytes()
    return render.blueprint_faults(
        workspaces[0], blueprint.path.name, content
    ), "by its rules and by Render's"


def passed(results: Sequence[CheckResult]) -> bool:
    """Return whether nothing failed."""
    return all(result.verdict is not Verdict.FAIL for result in results)


def main() -> int:
    """Make every check, and print what was found."""
    argparse.ArgumentParser(
        prog="python -m ops.render.preflight",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    ).parse_args()
    try:
        service = read_blueprint(ROOT / BLUEPRINT, ROOT).web_service
        options = Options.read(os.environ, service, deploying=False)
    except SettingsError as fault:
        print(fault, file=sys.stderr)
        return ExitCode.UNUSABLE
    results = run_preflight(options)
    display = Display(sys.stdout)
    display.hide(*options.secrets)
    display.say(table(results))
    return ExitCode.DONE if passed(results) else ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
