"""`python -m ops.run.announce`: waits until the appliance is ready, then prints how to call it."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping

import numpy as np

from ops.address import key_file, local_address, short_path
from ops.http_call import Answer, answer_or_none
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.labelled_rows import Cell, labelled_rows
from shared.models.version import ModelVersion
from shared.settings import LogFormat, Settings

#: Seconds between two looks.
POLL_SECONDS = 0.1
#: Seconds after which it is said what is missing, and again every so many seconds.
PATIENCE_SECONDS = 30.0
#: Seconds after which nobody is waiting for this any more.
GIVE_UP_SECONDS = 600.0
#: Figures of an example's numbers: enough to read, short enough to paste.
FIGURES = 5

_log = logging.getLogger(__name__)


def main() -> int:
    """Wait and announce; always exits with 0 once ready, 1 if that never happened."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings, "announce", sys.stdout)
    address = local_address(settings)
    if not _ready(address):
        _log.error("the appliance did not become ready", extra={"after_seconds": GIVE_UP_SECONDS})
        return 1
    if settings.log_format is LogFormat.JSON:
        key = key_file(settings, os.environ)
        where = {"key_file": str(key)} if key else {}
        _log.info("ready", extra={"address": address, "docs": f"{address}/docs", **where})
    else:
        # In one write: lines of other programs must not come in between.
        sys.stdout.write(f"{announcement(settings, os.environ)}\n")
        sys.stdout.flush()
    return 0


def announcement(settings: Settings, environment: Mapping[str, str]) -> str:
    """Return the text for a person: address, key, docs and a call to paste."""
    address = local_address(settings)
    file = key_file(settings, environment)
    where = short_path(file) if file else "as you set it in API_KEY"
    lines = ["", f"Shapbox is ready at {address}", f"  key   {where}", f"  docs  {address}/docs", "  try"]
    secret = f"$(cat {shlex.quote(short_path(file))})" if file else "$API_KEY"
    command = f"curl -s -H \"Authorization: Bearer {secret}\" -H 'Content-Type: application/json'"
    body = _example_body(settings)
    if body:
        return "\n".join([*lines, f"{command} -d '{body}' {address}/v1/explain", ""])
    return "\n".join([*lines, f"{command} {address}/v1/models", ""])


def _example_body(settings: Settings) -> str | None:
    """Return JSON that explains one real row of the narrowest model; None without examples."""
    try:
        models = ModelCatalog.load(
            settings.models_dir, settings.placeholders_dir, Activations.read(settings.activations_file)
        ).latest()
    except ShapboxError:
        return None
    fitting = [model for model in models if model.examples_path is not None]
    if not fitting:
        return None
    model = min(fitting, key=lambda model: len(model.features))
    return json.dumps({"model": model.name, "rows": [_first_row(model)]}, separators=(",", ":"))


def _first_row(model: ModelVersion) -> list[Cell]:
    if model.examples_path is None:
        return []
    rows = np.load(model.examples_path, mmap_mode="r", allow_pickle=False)[:1]
    return [_short(cell) for cell in labelled_rows(model.contract.features, rows)[0]]


def _short(value: Cell) -> Cell:
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.{FIGURES}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 10**FIGURES else rounded


def _ready(address: str) -> bool:
    started = time.monotonic()
    said = started
    while time.monotonic() - started < GIVE_UP_SECONDS:
        answer = answer_or_none(f"{address}/readyz")
        if answer is not None and answer.status == 200:
            return True
        if time.monotonic() - said >= PATIENCE_SECONDS:
            said = time.monotonic()
            _log.warning("not ready yet", extra={"missing": _missing(answer)})
        time.sleep(POLL_SECONDS)
    return False


def _missing(answer: Answer | None) -> str:
    if answer is None:
        return "the api does not answer: see its lines above"
    return answer.body.decode("utf-8", "replace")[:500]


if __name__ == "__main__":
    sys.exit(main())
