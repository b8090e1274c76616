"""A job's summary: per output, what each feature's SHAP values come to over all rows, the largest first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from services.api.results.names import JobNames
from shared.jobs.document import Job
from shared.models.contract import Kind
from shared.summary.moments import Of
from shared.summary.summary import Summary


def summary_document(job: Job, digest: Summary, names: JobNames) -> dict[str, Any]:
    """Return the document of GET /v1/jobs/ID/summary."""
    return {
        "job": job.id,
        "model": job.model,
        "method": job.method.value,
        "rows": job.rows,
        "outputs": [_output(digest, place, names) for place in range(len(names.outputs))],
    }


def _output(digest: Summary, output: int, names: JobNames) -> dict[str, Any]:
    moments = digest.moments
    table = moments.table[output]
    deviation, correlation = moments.deviation[output], moments.correlation[output]
    missing = moments.missing[output]
    for place, column in enumerate(names.columns):
        if column.kind is Kind.CATEGORY:  # its codes are in no order
            correlation[place] = math.nan
    return {
        "output": names.outputs[output],
        "base_value": float(digest.explanation.base_values[0, output]),
        "features": [
            {
                "feature": names.columns[place].name,
                "mean_abs": float(table[place, Of.ABS_MEAN]),
                "mean": float(table[place, Of.MEAN]),
                "deviation": float(deviation[place]),
                "min": float(table[place, Of.LEAST]),
                "max": float(table[place, Of.MOST]),
                "correlation": None if math.isnan(correlation[place]) else float(correlation[place]),
                "missing": int(missing[place]),
            }
            for place in np.argsort(-table[:, Of.ABS_MEAN], kind="stable")
        ],
    }
