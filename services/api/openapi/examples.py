"""Examples that the document and the page show."""

from __future__ import annotations

from typing import Any

JOB_ID = "0199f3a0c2d51b7e4f60a9c83d2e5f17"

ROWS: dict[str, Any] = {
    "model": "diabetes",
    "rows": [[0.03, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, -0.002, 0.02, -0.02]],
    "method": "tree_path_dependent",
}

JOB: dict[str, Any] = {
    "id": JOB_ID,
    "status": "running",
    "model": "breast-cancer@1",
    "method": "tree_path_dependent",
    "rows": 569,
    "batches": {"total": 2, "completed": 1},
    "created_at": "2026-01-05T09:30:00.000Z",
    "started_at": "2026-01-05T09:30:00.012Z",
    "finished_at": None,
    "error": None,
    "largest_residual": 3.1e-07,
    "links": {"self": f"/v1/jobs/{JOB_ID}", "result": f"/v1/jobs/{JOB_ID}/result"},
}

RESULT: dict[str, Any] = {
    "job": JOB_ID,
    "model": "example@1",
    "method": "tree_path_dependent",
    "feature_names": ["age", "income"],
    "output_names": ["score"],
    "values": [[0.25, -0.5]],
    "base_values": [1.5],
    "predictions": [1.25],
}

MODEL: dict[str, Any] = {
    "name": "example",
    "version": 1,
    "state": "ready",
    "reason": None,
    "features": ["age", "home"],
    "outputs": ["score"],
    "objective": "reg:squarederror",
    "sha256": "0" * 64,
    "engine": "compiled-avx512",
    "engines": {"tree_path_dependent": "compiled-avx512", "interventional": None},
    "fallback": False,
    "contract": {
        "format": 2,
        "name": "example",
        "version": 1,
        "sha256": "0" * 64,
        "size": 146_613,
        "library": "xgboost",
        "library_version": "3.4.1",
        "features": [
            {"name": "age", "kind": "number"},
            {"name": "home", "kind": "category", "labels": ["own", "rent"]},
        ],
        "outputs": ["score"],
        "objective": "reg:squarederror",
        "link": "identity",
        "missing": [-999.0],
        "trees": {"used": 93, "total": 120, "reason": "best_iteration"},
        "precision": "float32",
        "groups": {},
        "reasons": {"home": {"code": "R07", "text": "How you live"}},
        "never_reasons": ["age"],
        "adverse": "high",
        "background": None,
        "examples": {"file": "examples.npy", "sha256": "1" * 64, "rows": 100},
        "expected": None,
        "training": {},
        "fallback": False,
    },
    "activation": {
        "state": "ready",
        "reason": None,
        "seconds": 1.8,
        "methods": {
            "tree_path_dependent": {
                "engine": "compiled-avx512",
                "reason": None,
                "difference": 2.1e-07,
                "residual": 1.4e-07,
                "row_microseconds": 1.5,
            }
        },
    },
}

REFUSED_MODEL: dict[str, Any] = {
    **dict.fromkeys(MODEL),
    "name": "example",
    "version": 2,
    "state": "refused",
    "reason": "model.ubj is empty",
    "engines": {"tree_path_dependent": None, "interventional": None},
    "fallback": False,
}

APPLIANCE: dict[str, Any] = {
    "version": "0.1.0",
    "commit": "4f0c1d2",
    "role": "all",
    "time": "2026-01-05T09:30:00.000Z",
    "draining": False,
    "monitor": {"fresh": True, "reported_at": "2026-01-05T09:29:59.412Z"},
    "memory": {
        "working_set_bytes": 198_180_864,
        "recycle_at_bytes": 498_073_600,
        "container_limit_bytes": 536_870_912,
        "source": "cgroup",
    },
    "programs": [
        {"name": "supervisord", "state": "RUNNING", "memory_bytes": 19_922_944},
        {"name": "worker-1", "state": "RUNNING", "memory_bytes": 47_185_920},
    ],
    "storage": {"used_bytes": 52_428_800, "free_bytes": 9_663_676_416},
    "redis": {
        "up": True,
        "ping_seconds": 0.00009,
        "memory_bytes": 1_572_864,
        "memory_limit_bytes": 50_331_648,
    },
    "workers": {"idle": 1, "busy": 0},
    "queues": {
        "interactive": {"batches": 0, "oldest_seconds": 0.0},
        "bulk": {"batches": 12, "oldest_seconds": 1.5},
    },
    "jobs": {"queued": 0, "running": 1, "completed": 8, "failed": 0, "cancelled": 0},
}

PROBLEM: dict[str, Any] = {
    "type": "/problems/invalid-rows",
    "title": "Some rows cannot be explained",
    "status": 422,
    "detail": "1 fault so far in the rows (counted from 0). The first: row 3, column 'age': 'old' is not a number.",
    "request_id": "5f2c9a1e7b3d4068",
    "errors": [{"row": 3, "column": "age", "detail": "'old' is not a number"}],
}

CSV_ROWS = "age,income\n41,52000\n,18000\n"
NDJSON_ROWS = '[41, 52000]\n{"age": null, "income": 18000}\n'
CSV_RESULT = "age,income,base_value,prediction\r\n0.25,-0.5,1.5,1.25\r\n"
NDJSON_RESULT = '{"values":[0.25,-0.5],"base_value":1.5,"prediction":1.25}\n'
