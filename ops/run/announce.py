"""`python -m ops.run.announce`: prints how to call the appliance once it is ready."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ops.run.local_api import ask, local_address
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.labelled_rows import labelled_rows
from shared.settings import LogFormat, Settings

#: Seconds between two looks, until it is said what is missing (and again), and until nobody waits any more.
POLL_SECONDS, PATIENCE_SECONDS, GIVE_UP_SECONDS = 0.1, 30.0, 600.0
#: Figures of an example's numbers: enough to read, short enough to paste.
FIGURES = 5

_log = logging.getLogger("announce")


def main() -> int:
    """Wait and announce; return 1 if the appliance did not become ready."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings, "announce", sys.stdout)
    if not _ready(settings):
        _log.error("the appliance did not become ready", extra={"after_seconds": GIVE_UP_SECONDS})
        return 1
    if settings.log_format is LogFormat.JSON:
        address, file = local_address(settings), _key_file(os.environ)
        _log.info("ready", extra={"address": address, "docs": f"{address}/docs", "key_file": file})
    else:
        # In one write: lines of other programs must not come in between.
        print(f"{announcement(settings, os.environ)}\n", end="", flush=True)
    return 0


def _ready(settings: Settings) -> bool:
    started = said = time.monotonic()
    while time.monotonic() - started < GIVE_UP_SECONDS:
        code, text = ask(settings, "/readyz") or (0, "the api does not answer: see its lines above")
        if code == 200:
            return True
        if time.monotonic() - said >= PATIENCE_SECONDS:
            said = time.monotonic()
            _log.warning("not ready yet", extra={"missing": text[:500]})
        time.sleep(POLL_SECONDS)
    return False


def _key_file(environment: Mapping[str, str]) -> Path | None:
    """Return the file of API_KEY, which boot names if it made the key; None if API_KEY is set."""
    given = environment.get("API_KEY_FILE", "").strip()
    return Path(given) if given else None


def announcement(settings: Settings, environment: Mapping[str, str]) -> str:
    """Return the text for a person: address, key, docs and a call to paste."""
    address, file = local_address(settings), _key_file(environment)
    here = Path.cwd()
    if file and file.is_relative_to(here):
        file = file.relative_to(here)
    secret = f"$(cat {shlex.quote(str(file))})" if file else "$API_KEY"
    command = f"curl -s -H \"Authorization: Bearer {secret}\" -H 'Content-Type: application/json'"
    body = _example_body(settings)
    return f"""
Shapbox is ready at {address}
  key   {file or "as you set it in API_KEY"}
  docs  {address}/docs
  try
{command} {f"-d '{body}' {address}/v1/explain" if body else f"{address}/v1/models"}
"""


def _example_body(settings: Settings) -> str | None:
    """Return JSON that explains one real row of the narrowest model; None without examples."""
    activations = Activations.read(settings.activations_file)
    try:
        models = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations).latest()
    except ShapboxError:
        return None
    fitting = [(len(model.features), model, path) for model in models if (path := model.examples_path)]
    if not fitting:
        return None
    _, model, path = min(fitting, key=lambda one: one[0])
    rows = np.load(path, mmap_mode="r", allow_pickle=False)[:1]
    cells = labelled_rows(model.contract.features, rows)[0]
    row = [float(f"{cell:.{FIGURES}g}") if isinstance(cell, float) else cell for cell in cells]
    return json.dumps({"model": model.name, "rows": [row]}, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
