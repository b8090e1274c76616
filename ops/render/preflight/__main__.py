"""`python -m ops.render.preflight`: the checks before a deploy; 1 if any fails.

With RENDER_API_KEY Render validates the blueprint as well. IMAGE=no leaves the image out, which takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import sys

from ops.render.preflight.finding import all_well, table
from ops.render.preflight.options import PreflightOptions
from ops.render.preflight.run import run_preflight
from ops.render.reading import OptionsError
from ops.render.redactor import Redactor


def main() -> int:
    """Make every check, and print what was found."""
    argparse.ArgumentParser(
        prog="python -m ops.render.preflight",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    ).parse_args()
    try:
        options = PreflightOptions.read(os.environ)
    except OptionsError as fault:
        print(fault, file=sys.stderr)
        return 2
    findings = run_preflight(options)
    redactor = Redactor([options.api_key] if options.api_key else [])
    print(redactor.clean(table(findings)))
    return 0 if all_well(findings) else 1


if __name__ == "__main__":
    sys.exit(main())
