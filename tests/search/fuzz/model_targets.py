"""Fuzz targets of the contract, forests with their compiler, and tables with kernels."""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ops.models.contract import noted_missing
from ops.models.file_kinds import describe_failure, describe_foreign, plain_bytes, unpack
from services.api.rows.row_spec import RowSpec
from shared.errors import ModelFaultError
from shared.explanation import Matrix
from shared.models.contract import FORMAT, Contract
from shared.models.labelled_rows import labelled_rows
from shared.models.manifest_reader import read_contract
from shared.treeshap.checks import find_fault
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import Forest, NotCoveredError, Tree, forest_of, read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import LIBRARY, Library
from shared.treeshap.table_file import TableFileError, read_tables, table_path
from shared.ubjson import read_ubjson

#: Sizes up to which a model is explained: larger ones take longer and show nothing more.
_MOST_FEATURES, _MOST_OUTPUTS = 300, 40
_DIGEST = slice(8, 40)
MODEL = "a" * 64
#: The kernels that are used; __main__ puts those with sanitizers here.
library_path = LIBRARY


@cache
def _library() -> Library:
    return Library(library_path)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="shapbox-fuzz-"))


def contract(data: bytes) -> None:
    """Read a manifest; what is accepted can be written and read again, and used for rows."""
    try:
        found = read_contract(data)
    except ModelFaultError as refusal:
        str(refusal).encode()
        return
    assert isinstance(found, Contract)
    if found.trees is not None:
        assert read_contract(found.to_json()) == replace(found, format=FORMAT)
    spec = RowSpec.of(found, 2, 10)
    assert len(spec.names) == len(set(spec.names))
    assert spec.table.has_categories in {True, False}
    assert spec.max_row_bytes
    row = np.zeros((1, len(found.features)), dtype=np.float32)
    orjson.dumps(labelled_rows(found.features, row))


def forest(data: bytes) -> None:
    """Read and compile a forest, and compare its margins with a walk down its trees."""
    try:
        if data[:1] == b"{" and data[1:2] in b'"}\n ':
            found = forest_of(orjson.loads(data))
        else:
            found = read_forest(data)
        if found.features > _MOST_FEATURES or found.outputs > _MOST_OUTPUTS:
            return
        compiled = compile_forest(found, np.zeros(found.outputs, dtype=np.float32))
    except (NotCoveredError, orjson.JSONDecodeError):
        return
    assert find_fault(compiled) is None
    rows = _rows_of(found)
    explanation = Explainer(compiled, _library()).explain(rows)
    wanted = _margins(found, rows)
    scale = np.maximum(1, np.abs(wanted).max(initial=0))
    if np.isfinite(scale) and scale < 1e30:
        assert np.all(np.abs(explanation.margins - wanted) <= 1e-4 * scale), (explanation.margins, wanted)
    _explain_all(compiled, rows)
    try:
        _explain_all(against_background(compiled, rows, budget_mb=4), rows)
    except NotCoveredError:
        return


def ubjson(data: bytes) -> None:
    """Read one value of UBJSON."""
    try:
        read_ubjson(data)
    except ValueError:
        return


def table_file(data: bytes) -> None:
    """Read a table file under a right checksum; what is accepted is explained by every kernel."""
    sealed = data[: _DIGEST.start] + hashlib.sha256(data[_DIGEST.stop :]).digest() + data[_DIGEST.stop :]
    path = table_path(_folder(), MODEL)
    path.write_bytes(sealed if data[:4] == b"SHAP" else data)
    try:
        compiled = read_tables(path, MODEL)
    except TableFileError:
        return
    if compiled.features <= _MOST_FEATURES and compiled.outputs <= _MOST_OUTPUTS:
        _explain_all(
            compiled,
            np.linspace(-2, 2, 3 * compiled.features, dtype=np.float32).reshape(3, compiled.features),
        )


def model_file(data: bytes) -> None:
    """Say what a file is that somebody wants to import."""
    content = plain_bytes(data)
    said = describe_foreign(content, "model.bin", compressed=unpack(data[:200]) is not None)
    assert said is None or "model.bin" in said
    if content.startswith(b"{"):
        assert "model.bin" in describe_failure(content, "model.bin", "no reason")
    note = noted_missing({"scikit_learn": data.decode("utf-8", "replace")})
    assert all(map(math.isfinite, note))


def _explain_all(compiled: Compiled, rows: Matrix) -> None:
    library = _library()
    for kernel in library.kernels():
        values = Explainer(compiled, library, kernel).explain(rows)
        Explainer(compiled, library, kernel).explain(rows[:1])
        if compiled.features > 40 or np.any(compiled.trees["has_tables"] == 2):
            continue
        try:
            pairs = InteractionExplainer(compiled, library, kernel)
        except NotCoveredError:
            continue
        pairs.matrices(rows, values)
        pairs.top(rows, 3)


def _rows_of(found: Forest) -> Matrix:
    rows = np.linspace(-3, 40, 5 * found.features, dtype=np.float32).reshape(5, found.features)
    rows[0], rows[1] = np.nan, np.round(rows[1])
    for tree in found.trees[:20]:
        inner = np.flatnonzero(tree.left >= 0)[:50]
        rows[2, tree.feature[inner]] = tree.value[inner]
    return rows


def _margins(found: Forest, rows: Matrix) -> Matrix:
    margins = np.zeros((len(rows), found.outputs), dtype=np.float32)
    with np.errstate(over="ignore"):
        for tree in found.trees:
            for place, row in enumerate(rows):
                margins[place, tree.output] += tree.value[_leaf(tree, row)]
    return margins


def _leaf(tree: Tree, row: Any) -> int:
    node = 0
    for _ in range(len(tree.left)):
        if tree.left[node] < 0:
            return node
        x = row[tree.feature[node]]
        if np.isnan(x):
            left = bool(tree.default_left[node])
        elif node in tree.categories:
            left = not (0 <= x < 2**24 and int(x) in tree.categories[node])
        else:
            left = bool(x < tree.value[node])
        node = int(tree.left[node] if left else tree.right[node])
    raise AssertionError("the tree has a cycle")
