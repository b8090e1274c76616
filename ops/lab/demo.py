"""`python -m ops.lab.demo`: explains example rows and checks every value."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ops.lab.reference import Matrix, compare, reference_contributions
from ops.lab.report import run_program
from ops.lab.rows import Form, read_result
from ops.lab.trial_appliance import Appliance, TrialError
from ops.run.local_api import local_address
from shapbox import NoAnswerError, RefusedError, Shapbox
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: Rows that are sent unless --rows says otherwise: enough batches to see them go by.
DEFAULT_ROWS = 5000
#: Characters of a whole bar, and features that the table shows.
BAR_WIDTH, MOST_FEATURES = 40, 15


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.demo", description=__doc__)
    parser.add_argument("--model", help="a model with example rows (default: breast-cancer)")
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help="how many rows to send")
    parser.add_argument("--output", type=Path, default=Path("shap-values.csv"), help="where the CSV goes")
    options = parser.parse_args(arguments)
    return run_program("demo", lambda: _run(options), NoAnswerError, RefusedError)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    name = options.model or settings.default_model or "breast-cancer"
    model = ModelCatalog.load(settings.models_dir).get(name)
    if model.examples_path is None:
        raise TrialError(f"{model.id} has no example rows: choose another one with --model.")
    with _reached(settings) as box:
        if model.contract.sha256 not in [one["sha256"] for one in box.models()]:
            raise TrialError(f"The appliance does not serve the {model.id} that lies in {model.folder}.")
        _demonstrate(box, model, options.rows, options.output)
    return 0


@contextlib.contextmanager
def _reached(settings: Settings) -> Iterator[Shapbox]:
    """Reach the appliance of this machine, or start one for the length of the demo."""
    url = local_address(settings)
    try:
        Shapbox(url, "").call("GET", "/healthz", seconds=2.0)
    except NoAnswerError:
        print(f"Nothing answers at {url}: starting an appliance for the length of the demo.")
    else:
        yield Shapbox(url, _key(settings))
        return
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    appliance = Appliance(settings.data_dir.absolute(), {**os.environ, "PORT": str(settings.port)})
    appliance.log_path = settings.data_dir / "demo.log"
    try:
        appliance.start()
        yield Shapbox(appliance.url, _key(settings))
    finally:
        appliance.stop()


def _key(settings: Settings) -> str:
    path = settings.keys_dir / "API_KEY"
    try:
        return settings.api_key or path.read_text(encoding="ascii").strip()
    except OSError as fault:
        raise TrialError(f"The key cannot be read from {path}: set API_KEY, or DATA_DIR.") from fault


def _demonstrate(box: Shapbox, model: ModelVersion, count: int, output: Path) -> None:
    """Send the rows, check the values, save the CSV. Raises TrialError if a value is wrong."""
    examples = np.load(model.examples_path or "").astype(np.float32)
    print(f"Explaining {count} rows of {model.id} ({min(count, len(examples))} different ones) at {box.url}")
    started = time.monotonic()
    rows = np.resize(examples, (count, examples.shape[1]))
    job = box.submit(rows, model=model.id).wait(progress=True)
    seconds = time.monotonic() - started
    job.save(output)
    wanted = reference_contributions(model.model_path, rows, model.contract.trees)
    for form, body in ((Form.NPY, job.fetch(Form.NPY)), (Form.CSV, output.read_bytes())):
        values = read_result(form, body, len(model.outputs))
        found = compare(values, wanted, [*model.features, "base value"])
        if found.wrong:
            output.unlink()
            raise TrialError(f"A value is wrong in the {form.name} result. {found.said}")
    print(f"\nFeatures by mean |SHAP|:\n{_table(values, model.features)}\n")
    print(
        f"  largest difference from Booster.predict(pred_contribs=True): {np.abs(values - wanted).max():.2g}"
    )
    print(f"  largest additivity residual: {job.document['largest_residual']:.2g}")
    print(f"  rows per second: {count / seconds:,.0f}")
    print(f"  saved: {output}")


def _table(values: Matrix, features: Sequence[str]) -> str:
    """Write the features by mean |SHAP| as a table of bars."""
    means = np.abs(values[:, :, :-1]).mean(axis=(0, 1))
    shown = np.argsort(-means, kind="stable")[:MOST_FEATURES]
    longest, largest = max(len(features[index]) for index in shown), max(means[shown[0]], 1e-30)
    lines = [
        f"  {features[index]:<{longest}}  {means[index]:9.4f}  {'█' * round(means[index] / largest * BAR_WIDTH)}"
        for index in shown
    ]
    more = len(features) - len(shown)
    return "\n".join([*lines, *([f"  … and {more} more"] if more else [])])


if __name__ == "__main__":
    sys.exit(main())
