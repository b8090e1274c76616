"""`python -m ops.lab.demo`: explains example rows and checks every value."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ops.lab.reference import EXACT, Matrix, compare, distance, reference_contributions
from ops.lab.report import run_program
from ops.lab.rows import Form, read_result
from ops.lab.trial_appliance import Appliance, TrialError
from shapbox import Job, NoAnswerError, RefusedError, Shapbox
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: Rows that are sent unless --rows says otherwise: enough batches to see them go by.
DEFAULT_ROWS = 5000
#: Characters of a whole bar, and features that the table shows.
BAR_WIDTH, MOST_FEATURES = 40, 15
#: The address that a server binds for "every address": a client calls the loopback address instead.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # compared, not bound


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.demo", description=__doc__)
    parser.add_argument("--url", help="an appliance that runs (default: this machine's, started if need be)")
    parser.add_argument("--model", help="a model with example rows (default: breast-cancer)")
    parser.add_argument("--rows", type=_positive, default=DEFAULT_ROWS, help="how many rows to send")
    parser.add_argument("--output", type=Path, default=Path("shap-values.csv"), help="where the CSV goes")
    options = parser.parse_args(arguments)
    return run_program("demo", lambda: _run(options), NoAnswerError, RefusedError)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    with _reached(settings, options.url) as box:
        model = options.model or settings.default_model or "breast-cancer"
        _demonstrate(box, _find_model(box, settings, model), options.rows, options.output)
    return 0


@contextlib.contextmanager
def _reached(settings: Settings, given: str | None) -> Iterator[Shapbox]:
    """Reach the appliance that runs, or start one for the length of the demo."""
    host = EVERYWHERE.get(settings.host, settings.host)
    url = given or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        Shapbox(url, "").call("GET", "/healthz", seconds=2.0)
    except NoAnswerError:
        if given:
            raise TrialError(f"Nothing answers at {url}.") from None
    else:
        key = os.environ.get("SHAPBOX_API_KEY") or settings.api_key or _kept_key(settings)
        yield Shapbox(url, key)
        return
    print(f"Nothing answers at {url}: starting an appliance for the length of the demo.")
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    appliance = Appliance(settings.data_dir.absolute(), {**os.environ, "PORT": str(settings.port)})
    appliance.log_path = settings.data_dir / "demo.log"
    try:
        appliance.start()
        yield Shapbox(appliance.url, settings.api_key or _kept_key(settings))
    finally:
        appliance.stop()


def _kept_key(settings: Settings) -> str:
    path = settings.keys_dir / "API_KEY"
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as fault:
        raise TrialError(f"The key cannot be read from {path}: set API_KEY, or DATA_DIR.") from fault


def _find_model(box: Shapbox, settings: Settings, wanted: str) -> ModelVersion:
    """Return our copy of the served model. Raises TrialError if the two differ."""
    activations = Activations.read(settings.activations_file)
    model = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations).get(wanted)
    if model.examples_path is None:
        raise TrialError(f"{model.id} has no example rows: choose another one with --model.")
    theirs = [one["sha256"] for one in box.models() if f"{one['name']}@{one['version']}" == model.id]
    if model.contract.sha256 not in theirs:
        raise TrialError(f"The appliance does not serve the {model.id} that lies in {model.folder}.")
    return model


def _demonstrate(box: Shapbox, model: ModelVersion, count: int, output: Path) -> None:
    """Send the rows, check the values, save the CSV. Raises TrialError if a value is wrong."""
    examples = np.load(model.examples_path or "").astype(np.float32)[:count]
    print(f"Explaining {count} rows of {model.id} ({len(examples)} different ones) at {box.url}")
    started = time.monotonic()
    order = np.arange(count) % len(examples)
    job = box.submit(examples[order], model=model.id).wait(progress=True)
    seconds = time.monotonic() - started
    wanted = reference_contributions(model.model_path, examples, model.contract.trees)[order]
    values, apart, residual = _checked(job, wanted, model)
    job.save(output)
    print(f"\nFeatures by mean |SHAP|:\n{_table(values, model.features)}\n")
    print(f"  largest difference from Booster.predict(pred_contribs=True): {apart:.2g}")
    print(f"  largest additivity residual: {residual:.2g}")
    print(f"  rows per second: {count / seconds:,.0f}")
    print(f"  saved: {output}")


def _checked(job: Job, wanted: Matrix, model: ModelVersion) -> tuple[Matrix, float, float]:
    """Compare the result in both forms, and its sums with the predictions."""
    bodies = {form: job.fetch(form) for form in (Form.NPY, Form.CSV)}
    columns = [*model.features, "base value"]
    for form, body in bodies.items():
        values = read_result(form, body, wanted.shape[1])
        found = compare(values, wanted, columns)
        if not found.right:
            raise TrialError(f"A value is wrong in the {form.name} result. {found.said}")
    predictions = np.loadtxt(
        io.StringIO(bodies[Form.CSV].decode()), delimiter=",", skiprows=1, usecols=[-1], ndmin=2
    )
    sums = values.sum(axis=2, dtype=np.float64).reshape(-1, 1)
    residual = distance(sums.astype(np.float32), predictions.astype(np.float32))
    if residual > EXACT:
        raise TrialError(
            f"The values of a row do not add up to the prediction: they miss it by {residual:.3g}."
        )
    return values, found.largest, residual


def _table(values: Matrix, features: Sequence[str]) -> str:
    """Write the features by mean |SHAP| as a table of bars."""
    means = np.abs(values[:, :, :-1]).mean(axis=(0, 1))
    ranked = [(features[index], float(means[index])) for index in np.argsort(-means, kind="stable")]
    shown = ranked[:MOST_FEATURES]
    longest, largest = max(len(name) for name, _ in shown), max(shown[0][1], 1e-30)
    lines = [
        f"  {name:<{longest}}  {mean:9.4f}  {'█' * round(mean / largest * BAR_WIDTH)}" for name, mean in shown
    ]
    return "\n".join(
        [*lines, *([f"  … and {len(ranked) - len(shown)} more"] if ranked[len(shown) :] else [])]
    )


if __name__ == "__main__":
    sys.exit(main())
