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


def check_refused(path: Path, content: bytes, reason: str = "") -> None:
    path.write_bytes(content)
    with pytest.raises(TableFileError, match=f"{path.name}.*{reason}"):
        read_tables(path, MODEL)


def test_a_model_comes_back_from_its_file_as_it_was(
    path: Path, compiled_and_rows: tuple[Compiled, Floats], library: Library
) -> None:
    compiled, x = compiled_and_rows
    back = read_tables(path, MODEL)
    for name, array in compiled.arrays.items():
        np.testing.assert_array_equal(getattr(back, name), array)
        assert not getattr(back, name).flags.writeable
    got, wanted = (Explainer(one, library).explain(x).array for one in (back, compiled))
    np.testing.assert_array_equal(got, wanted)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(TableFileError, match="another model"):
        read_tables(path, "b" * 64)


def test_large_tables_are_written_without_a_copy_of_them(tmp_path: Path, compiled: Compiled) -> None:
    large = replace(compiled, tables=np.ones(1 << 20, dtype=np.float32))
    tracemalloc.start()
    try:
        write_tables(table_path(tmp_path, MODEL), large, MODEL)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < large.tables.nbytes // 4


def test_a_file_is_refused_wherever_it_is_truncated_or_a_bit_is_flipped(path: Path) -> None:
    content = path.read_bytes()
    for length in {*range(0, 200, 7), *range(200, len(content), len(content) // 23), len(content) - 1}:
        check_refused(path, content[:length])
    for at in {*range(60), *range(60, len(content), len(content) // 37)}:
        altered = bytearray(content)
        altered[at] ^= 4
        check_refused(path, bytes(altered))


def seal(content: bytes) -> bytes:
    """With the checksum that belongs to it: what somebody would write who means it."""
    return content[:8] + hashlib.sha256(content[40:]).digest() + content[40:]


def test_a_header_that_is_not_understood_is_refused_under_a_right_checksum(path: Path) -> None:
    content = path.read_bytes()
    for what, instead in (
        (b'"format":%d' % FORMAT, b'"format":0'),
        (b'"arrays":{', b'"arrowz":{'),
        (b'"tables":[', b'"tables":]'),
        (b'"features":5', b'"features":x'),
    ):
        assert what in content
        check_refused(path, seal(content.replace(what, instead, 1)))
    check_refused(path, seal(content[:40] + b"\xff" * 8 + content[48:]))  # longer than the file


def altered(compiled: Compiled, array: str, field: str | None, at: int, value: Any) -> Compiled:
    copy = getattr(compiled, array).copy()
    (copy if field is None else copy[field])[at] = value
    return replace(compiled, **{array: copy})


#: Fields, places in them, and values that would lead a kernel astray there.
OUT_OF_PLACE: list[tuple[str, str | None, int, tuple[int, ...]]] = [
    ("nodes", "column", 3, (5, -1)),
    ("nodes", "left", 0, (0, 10**6, -2)),
    ("nodes", "right", 0, (1,)),
    ("nodes", "level", 1, (9,)),
    ("nodes", "level", 0, (1,)),
    ("nodes", "right_child", 1, (1, 2)),
    ("nodes", "bit", 0, (5,)),
    ("nodes", "above", 1, (31,)),
    ("nodes", "above", 0, (1,)),
    ("nodes", "flags", 0, (255,)),
    ("trees", "first", 1, (0,)),
    ("trees", "nodes", 0, (10**6, -1)),
    ("trees", "points", 0, (17, 0, 1, 7)),
    ("trees", "levels", 0, (1, 1000)),
    ("trees", "factors", 0, (1 << 20, -2)),
    ("trees", "has_tables", 0, (3, 0)),
    ("columns", None, 0, (-1, 5, 4)),
    ("first_tree", None, 1, (100,)),
    ("first_tree", None, 0, (1,)),
]


def test_what_would_lead_a_kernel_astray_is_found(compiled: Compiled, path: Path) -> None:
    assert find_fault(compiled) is None
    for array, field, at, values in OUT_OF_PLACE:
        for value in values:
            assert find_fault(altered(compiled, array, field, at, value)) is not None, (
                array,
                field,
                at,
                value,
            )
    parent = int(np.flatnonzero(compiled.nodes["table"] >= 0)[-1])
    for value in (len(compiled.tables) // 16, -1, -2, 2**31 - 1):
        assert find_fault(altered(compiled, "nodes", "table", parent, value)) == "table"
    assert find_fault(replace(compiled, tables=compiled.tables[:-1])) == "table"
    node = int(np.flatnonzero(compiled.nodes["words"])[-1])
    beyond = len(compiled.categories)
    for field, value in (("categories", beyond), ("categories", -1), ("words", 2**31 - 1), ("words", -1)):
        assert find_fault(altered(compiled, "nodes", field, node, value)) == "categories"

    write_tables(path, altered(compiled, "nodes", "column", 0, 77), MODEL)  # under a right checksum
    check_refused(path, path.read_bytes(), "contradicts itself: column")
