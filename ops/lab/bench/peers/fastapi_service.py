"""What people write around XGBoost: FastAPI with uvicorn, the model in the process, its work in the thread pool.

`uvicorn fastapi_service:app --workers 2`, with the model's path in MODEL. Rows come as JSON, NPY or CSV; NPY is answered
with NPY, the others with JSON.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import orjson
import xgboost
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

NPY, CSV, JSON = "application/x-npy", "text/csv", "application/json"

# One thread for each request: with more of them two requests at a time hinder each other, and single rows take longest.
booster = xgboost.Booster({"nthread": 1}, model_file=os.environ["MODEL"])
app = FastAPI()


@app.post("/explain")
async def explain(request: Request) -> Response:
    """Answer rows with their SHAP values."""
    kind = request.headers.get("content-type", JSON)
    answer = await run_in_threadpool(_answer, await request.body(), kind)
    return Response(answer, media_type=NPY if kind == NPY else JSON)


def _answer(body: bytes, kind: str) -> bytes:
    matrix = xgboost.DMatrix(_rows(body, kind), nthread=1)
    values = booster.predict(matrix, pred_contribs=True, validate_features=False)
    if kind == NPY:
        file = io.BytesIO()
        np.save(file, values)
        return file.getvalue()
    parts = {"values": values[:, :-1].copy(), "base_values": values[:, -1].copy()}
    return orjson.dumps(parts, option=orjson.OPT_SERIALIZE_NUMPY)


def _rows(body: bytes, kind: str) -> Any:
    if kind == NPY:
        return np.load(io.BytesIO(body), allow_pickle=False)
    if kind == CSV:
        return np.loadtxt(io.BytesIO(body), dtype=np.float32, delimiter=",", skiprows=1, ndmin=2)
    return np.asarray(orjson.loads(body)["rows"], dtype=np.float32)
