"""Exact SHAP values of tree models from a Shapbox appliance."""

from shapbox.asynchronous import AsyncJob, AsyncShapbox
from shapbox.client import Job, Shapbox
from shapbox.errors import NoAnswerError, RefusedError, RowError, RowsError, ShapboxError
from shapbox.exchange import VERSION, Response
from shapbox.explanation import Explanation

__version__ = VERSION
__all__ = [
    "AsyncJob",
    "AsyncShapbox",
    "Explanation",
    "Job",
    "NoAnswerError",
    "RefusedError",
    "Response",
    "RowError",
    "RowsError",
    "Shapbox",
    "ShapboxError",
]
