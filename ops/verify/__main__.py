"""`python -m ops.verify`: 0 if all checks pass, 1 if one fails, 2 if it could not run."""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ops.run.local_api import local_address
from ops.verify.report import WRITERS, as_text
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions, ignore_progress
from shared.errors import SettingsError, ShapboxError
from shared.settings import KEY_NAMES, Settings

#: Exit codes.
PASSED, FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def main() -> int:
    """Visit, report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.verify", description=__doc__)
    add = parser.add_argument
    add("--url", help="a remote appliance; its keys come from API_KEY, ADMIN_API_KEY and METRICS_TOKEN")
    add("--expect-commit", metavar="SHA", help="the commit that should run there")
    add("--soak", type=float, default=0.0, metavar="MINUTES", help="keep a light load up for so long")
    add("--format", choices=WRITERS, default="text", help="how the report is written (text)")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # so that the jobs are deleted all the same
    try:
        options = options_for(given.url, given.expect_commit, given.soak, os.environ)
    except ShapboxError as fault:
        print(f"verify: {fault}", file=sys.stderr)
        return COULD_NOT_RUN
    try:
        report = run_verify(options)
    except KeyboardInterrupt:
        print("\nverify: interrupted; the jobs that it had made are deleted.", file=sys.stderr)
        return INTERRUPTED
    finally:
        options.progress("")
    if given.format == "text" and sys.stdout.isatty():
        print(as_text(report, shutil.get_terminal_size().columns))
    else:
        print(WRITERS[given.format](report))
    return PASSED if report.passed else FAILED


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _show(text: str) -> None:
    """Write the progress over itself on a terminal."""
    sys.stderr.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
    sys.stderr.flush()


def options_for(
    remote: str | None, expect_commit: str | None, soak_minutes: float, environment: Mapping[str, str]
) -> VerifyOptions:
    """Find the appliance and its keys: a remote one, or that of this machine.

    Raises SettingsError for a fault, or if nothing could be checked.
    """
    commit = (expect_commit or "").lower() or None
    if commit and not _COMMIT.fullmatch(commit):
        raise SettingsError(f"EXPECT_COMMIT={commit!r} is no commit: give 7 to 40 digits of its SHA.")
    if not 0 <= soak_minutes < math.inf:
        raise SettingsError(f"SOAK={soak_minutes} is no number of minutes.")
    if remote:
        # This machine's other settings say nothing of a remote appliance.
        names = {name for setting in (*KEY_NAMES, "MODELS_DIR") for name in (setting, f"{setting}_FILE")}
        environment = {name: environment[name] for name in names & environment.keys()}
    settings = Settings.from_environment(environment)
    url = _checked(remote) if remote else local_address(settings)
    keys = {name: getattr(settings, name.lower()) for name in KEY_NAMES}
    remedy = "set API_KEY, ADMIN_API_KEY and METRICS_TOKEN, or API_KEY_FILE and so on, to that service's own."
    if not remote:
        keys = {name: key or _read_key(settings.keys_dir / name) for name, key in keys.items()}
        remedy = f"set DATA_DIR to its folder; there are none in {settings.keys_dir}."
    if not (keys["API_KEY"] or keys["ADMIN_API_KEY"]):
        raise SettingsError(f"Without its keys hardly anything of {url} can be checked: {remedy}")
    return VerifyOptions(
        url=url,
        keys={name: key for name, key in keys.items() if key},
        expect_commit=commit,
        soak_minutes=soak_minutes,
        models_dir=settings.models_dir,
        progress=_show if sys.stderr.isatty() else ignore_progress,
    )


def _read_key(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as fault:
        advice = "run this as the user who runs the appliance."
        raise SettingsError(f"The key in {path} cannot be read ({fault}): {advice}") from fault


def _checked(url: str) -> str:
    """Return an address without a slash at its end. Raises SettingsError for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise SettingsError(f"URL={url!r} is no address: {fault}.") from fault
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise SettingsError(f"URL={url!r} is no address: write https://NAME.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError("URL must be an address alone: keys belong into API_KEY and the other settings.")
    return url.rstrip("/")


if __name__ == "__main__":
    sys.exit(main())
