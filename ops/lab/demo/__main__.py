"""`python -m ops.lab.demo`: explains example rows and checks every value; 1 if one is wrong."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from ops.address import key_file, local_address
from ops.http_call import answer_or_none
from ops.lab.demo.demonstration import DemoOptions, demonstrate
from ops.lab.demo.failure import DemoError
from ops.lab.demo.own_appliance import running_appliance
from ops.lab.demo.rest_client import RestClient
from shared.errors import ShapboxError
from shared.settings import Settings


def main() -> int:
    """Run the demo; return the exit code."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # so that an appliance of ours is stopped as well
    try:
        settings = Settings.from_environment(os.environ)
        url = options.url or local_address(settings)
        with contextlib.ExitStack() as stack:
            if answer_or_none(f"{url}/healthz") is None:
                _start(stack, settings, url, given=options.url is not None)
            model = options.model or settings.default_model or "breast-cancer"
            chosen = DemoOptions(model, options.rows, options.output)
            demonstrate(RestClient(url, _key(settings)), settings, chosen)
    except (DemoError, ShapboxError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.lab.demo", description=__doc__)
    parser.add_argument("--url", help="an appliance that runs (default: this machine's, started if need be)")
    parser.add_argument("--model", help="a model with example rows (default: breast-cancer)")
    parser.add_argument("--rows", type=_positive, help="how many rows to send")
    parser.add_argument("--output", type=Path, default=Path("shap-values.csv"), help="where the CSV goes")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _start(stack: contextlib.ExitStack, settings: Settings, url: str, *, given: bool) -> None:
    if given:
        raise DemoError(f"Nothing answers at {url}.")
    print(f"Nothing answers at {url}: starting an appliance for the length of the demo.")
    stack.enter_context(running_appliance(settings, os.environ))


def _key(settings: Settings) -> str:
    if settings.api_key:
        return settings.api_key
    path = key_file(settings, os.environ)
    try:
        return path.read_text(encoding="ascii").strip() if path else ""
    except OSError as error:
        raise DemoError(f"The key cannot be read from {path}: set API_KEY, or DATA_DIR.") from error


if __name__ == "__main__":
    sys.exit(main())
