import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.models.activation.compilation import compile_booster
from shared.treeshap.checks import find_fault
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import Library
from shared.treeshap.table_file import FORMAT, TableFileError, read_tables, table_path, write_tables
from tests.support.boosters import Floats, train

MODEL = "a" * 64


@pytest.fixture(scope="module")
def compiled_and_rows() -> tuple[Compiled, Floats]:
    booster, x = train(4, 4, 5, categories=40, max_cat_to_onehot=1)
    return compile_booster(booster), x


@pytest.fixture
def compiled(compiled_and_rows: tuple[Compiled, Floats]) -> Compiled:
    return compiled_and_rows[0]


@pytest.fixture
def path(tmp_path: Path, compiled: Compiled) -> Path:
    path = table_path(tmp_path, MODEL)
    write_tables(path, compiled, MODEL)
    return path


def test_a_model_comes_back_from_its_file_as_it_was(
    path: Path, compiled_and_rows: tuple[Compiled, Floats], library: Library
) -> None:
    compiled, x = compiled_and_rows
    back = read_tables(path, MODEL)
    for name, array in compiled.arrays.items():
        np.testing.assert_array_equal(getattr(back, name), array)
        assert not getattr(back, name).flags.writeable
    np.testing.assert_array_equal(
        Explainer(back, library).explain(x).array, Explainer(compiled, library).explain(x).array
    )
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_large_tables_are_written_without_a_copy_of_them(tmp_path: Path, compiled: Compiled) -> None:
    large = replace(compiled, tables=np.ones(1 << 20, dtype=np.float32))
    tracemalloc.start()
    try:
        write_tables(table_path(tmp_path, MODEL), large, MODEL)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < large.tables.nbytes // 4


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    content = path.read_bytes()
    for length in {*range(0, 200, 7), *range(200, len(content), len(content) // 23), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(TableFileError, match=path.name):
            read_tables(path, MODEL)


def test_an_altered_file_is_refused_wherever_a_bit_is_flipped(path: Path) -> None:
    content = path.read_bytes()
    for at in {*range(60), *range(60, len(content), len(content) // 37)}:
        altered = bytearray(content)
        altered[at] ^= 4
        path.write_bytes(altered)
        with pytest.raises(TableFileError):
            read_tables(path, MODEL)


def test_another_models_file_is_refused(path: Path) -> None:
    with pytest.raises(TableFileError, match="another model"):
        read_tables(path, "b" * 64)


def seal(content: bytes) -> bytes:
    """With the checksum that belongs to it: what somebody would write who means it."""
    return content[:8] + hashlib.sha256(content[40:]).digest() + content[40:]


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        (b'"format":%d' % FORMAT, b'"format":0'),
        (b'"arrays":{', b'"arrowz":{'),
        (b'"tables":[', b'"tables":]'),
        (b'"features":5', b'"features":x'),
    ],
)
def test_a_header_that_is_not_understood_is_refused_under_a_right_checksum(
    path: Path, what: bytes, instead: bytes
) -> None:
    content = path.read_bytes()
    assert what in content
    path.write_bytes(seal(content.replace(what, instead, 1)))
    with pytest.raises(TableFileError):
        read_tables(path, MODEL)


def test_a_header_longer_than_the_file_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40:48] = b"\xff" * 8
    path.write_bytes(seal(bytes(content)))
    with pytest.raises(TableFileError):
        read_tables(path, MODEL)


def altered(compiled: Compiled, array: str, field: str | None, at: int, value: Any) -> Compiled:
    copy = getattr(compiled, array).copy()
    (copy if field is None else copy[field])[at] = value
    return replace(compiled, **{array: copy})


OUT_OF_PLACE = [
    ("nodes", "column", 3, 5),
    ("nodes", "column", 3, -1),
    ("nodes", "left", 0, 0),
    ("nodes", "left", 0, 10**6),
    ("nodes", "left", 0, -2),
    ("nodes", "right", 0, 1),
    ("nodes", "level", 1, 9),
    ("nodes", "level", 0, 1),
    ("nodes", "right_child", 1, 1),
    ("nodes", "right_child", 1, 2),
    ("nodes", "bit", 0, 5),
    ("nodes", "above", 1, 31),
    ("nodes", "above", 0, 1),
    ("nodes", "flags", 0, 255),
    ("trees", "first", 1, 0),
    ("trees", "nodes", 0, 10**6),
    ("trees", "nodes", 0, -1),
    ("trees", "points", 0, 17),
    ("trees", "points", 0, 0),
    ("trees", "points", 0, 1),
    ("trees", "levels", 0, 1),
    ("trees", "factors", 0, 1 << 20),
    ("trees", "factors", 0, -2),
    ("trees", "points", 0, 7),
    ("trees", "levels", 0, 1000),
    ("trees", "has_tables", 0, 3),
    ("trees", "has_tables", 0, 0),
    ("columns", None, 0, -1),
    ("columns", None, 0, 5),
    ("columns", None, 0, 4),
    ("first_tree", None, 1, 100),
    ("first_tree", None, 0, 1),
]


@pytest.mark.parametrize(("array", "field", "at", "value"), OUT_OF_PLACE)
def test_what_would_lead_a_kernel_astray_is_found(
    compiled: Compiled, array: str, field: str | None, at: int, value: int
) -> None:
    assert find_fault(compiled) is None
    assert find_fault(altered(compiled, array, field, at, value)) is not None


def test_tables_and_categories_beyond_their_arrays_are_found(compiled: Compiled) -> None:
    parent = int(np.flatnonzero(compiled.nodes["table"] >= 0)[-1])
    for value in (len(compiled.tables) // 16, -1, -2, 2**31 - 1):
        assert find_fault(altered(compiled, "nodes", "table", parent, value)) == "table"
    assert find_fault(replace(compiled, tables=compiled.tables[:-1])) == "table"
    node = int(np.flatnonzero(compiled.nodes["words"])[-1])
    for field, value in (
        ("categories", len(compiled.categories)),
        ("categories", -1),
        ("words", 2**31 - 1),
        ("words", -1),
    ):
        assert find_fault(altered(compiled, "nodes", field, node, value)) == "categories"


def test_a_contradiction_in_a_file_is_refused_under_a_right_checksum(path: Path, compiled: Compiled) -> None:
    write_tables(path, altered(compiled, "nodes", "column", 0, 77), MODEL)
    with pytest.raises(TableFileError, match="contradicts itself: column"):
        read_tables(path, MODEL)
