"""The demo, step by step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ops.lab.demo.comparison import Comparison, compare
from ops.lab.demo.example_rows import examples, find_model, reference, repeated
from ops.lab.demo.failure import DemoError
from ops.lab.demo.report import ProgressBar, ranking, table
from ops.lab.demo.rest_client import RestClient
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The model, the number of rows (None: some thousands), and the CSV's path."""

    model: str
    rows: int | None
    output: Path


#: Rows that are sent unless --rows says otherwise: enough batches to see them go by.
DEFAULT_ROWS = 5000


def demonstrate(client: RestClient, settings: Settings, options: DemoOptions) -> None:
    """Send the rows, check the values, save the CSV; raises DemoError if a value is wrong."""
    model = find_model(settings, options.model, client.models())
    rows = examples(model)
    count = options.rows or DEFAULT_ROWS
    print(f"Explaining {count} rows of {model.id} ({len(rows)} different ones) at {client.url}")
    started = time.monotonic()
    job = client.follow(client.submit(model.id, repeated(rows, count)), ProgressBar().show)
    seconds = time.monotonic() - started
    features = list(model.features)
    values = client.values_npy(job).reshape(count, -1, len(features) + 1)
    result = client.result_json(job)
    _agree(result, values, features)
    predictions = np.asarray(result["predictions"], dtype=np.float32).reshape(count, -1)
    comparison = compare(values, reference(model, rows, count), predictions, features)
    options.output.write_bytes(client.result_csv(job))
    print(f"\nFeatures by mean |SHAP|:\n{table(ranking(values, features))}\n")
    _print_figures(comparison, count / seconds, options.output)
    if comparison.fault:
        raise DemoError(f"A value is wrong. {comparison.fault}")


def _agree(
    result: dict[str, object], values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], features: list[str]
) -> None:
    """See that the JSON result holds what the NPY result does."""
    if result["feature_names"] != features:
        raise DemoError("The JSON result names other features than the model has.")
    json = np.asarray(result["values"], dtype=np.float32).reshape(len(values), len(features), -1)
    if not np.array_equal(json.transpose(0, 2, 1), values[:, :, :-1]):
        raise DemoError("The JSON result holds other values than the NPY result.")


def _print_figures(comparison: Comparison, rows_per_second: float, output: Path) -> None:
    print(
        f"  largest difference from Booster.predict(pred_contribs=True): {comparison.largest_difference:.2g}"
    )
    print(f"  largest additivity residual: {comparison.largest_residual:.2g}")
    print(f"  rows per second: {rows_per_second:,.0f}")
    print(f"  saved: {output}")
