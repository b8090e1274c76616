"""`python -m ops.render.deploy`: deploys the checked-out commit to Render, and verifies it there.

SERVICE=NAME-OR-ID   the service (default: the blueprint's)
RENDER_API_KEY       or RENDER_API_KEY_FILE, the file that holds it
RENDER_DEPLOY_HOOK   instead of a key, with URL=https://…; such a deploy cannot be rolled back
ROLLBACK=no          leave a deploy live that does not pass
VERIFY=no            do not verify it
PREFLIGHT=no         leave out the checks before it; IMAGE=no leaves only the image out
SOAK_MINUTES=N       watch it for so long
DEPLOY_MINUTES=N     what a deploy may take (45)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping

from ops.render.api import RenderApi
from ops.render.blueprint import read_blueprint
from ops.render.deploy.display import Display
from ops.render.deploy.hook_run import run_by_hook
from ops.render.deploy.options import DeployOptions
from ops.render.deploy.run import DeployRun, ExitCode
from ops.render.errors import RenderError
from ops.render.preflight.checks import BLUEPRINT
from ops.render.preflight.finding import all_well, table
from ops.render.preflight.options import PreflightOptions
from ops.render.preflight.repository import Repository
from ops.render.preflight.run import run_preflight
from ops.render.reading import OptionsError
from ops.render.redactor import Redactor
from ops.render.transport import Transport
from shared.build import ROOT

#: Names whose values make passes on in its own arguments, which everybody on the machine can read.
SECRET_NAMES = ("RENDER_API_KEY=", "RENDER_DEPLOY_HOOK=")


def main() -> int:
    """Deploy; return the exit code. No output holds a secret, not even an unexpected traceback."""
    argparse.ArgumentParser(
        prog="python -m ops.render.deploy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    redactor = Redactor()
    display = Display(redactor)
    try:
        return _main(os.environ, redactor, display)
    except (OptionsError, RenderError) as fault:
        display.say(str(fault))
        return ExitCode.UNUSABLE if isinstance(fault, OptionsError) else ExitCode.FAILED
    except KeyboardInterrupt:
        display.say("Interrupted.")
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  # its text could hold a secret
        display.say(traceback.format_exc())
        return ExitCode.FAILED


def _main(environment: Mapping[str, str], redactor: Redactor, display: Display) -> int:
    if any(name in environment.get("MAKEFLAGS", "") for name in SECRET_NAMES):
        display.say(
            "Warning: make's own command line shows this secret to all users of this machine: export it instead."
        )
    options = DeployOptions.read(environment, read_blueprint(ROOT / BLUEPRINT, ROOT).web_service)
    redactor.add(*options.secrets)
    repository = Repository(ROOT)
    with _api(options, display) as api:
        if options.preflight and not _look_beforehand(environment, display):
            return ExitCode.FAILED
        commit = repository.head()
        if commit is None:
            raise RenderError("There is no commit here to deploy: deploy from a clone of the repository.")
        if api is None:
            return run_by_hook(options, commit, display)
        return DeployRun(api, options, commit, repository, display, redactor).run()


@contextlib.contextmanager
def _api(options: DeployOptions, display: Display) -> Iterator[RenderApi | None]:
    if options.api_key is None:
        yield None
        return
    transport = Transport(options.host, options.api_key, options.patience, display.show)
    try:
        yield RenderApi(transport)
    finally:
        transport.close()


def _look_beforehand(environment: Mapping[str, str], display: Display) -> bool:
    display.say("Preflight:")
    findings = run_preflight(PreflightOptions.read(environment))
    display.say(table(findings))
    if not all_well(findings):
        display.say("Nothing was deployed.")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
