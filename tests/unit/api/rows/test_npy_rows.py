from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from services.api.rows.npy_rows import read_npy
from services.api.rows.row_spec import RowSpec
from shared.errors import InvalidRowsError, TooManyRowsError, UnreadableBodyError
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=100)
ROWS = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], dtype=np.float32)


def save(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy warns that old readers know no version 2 and 3
        np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def with_header(header: str, data: bytes = b"", length: int | None = None) -> bytes:
    text = header.encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little") + text + data


def read(body: bytes) -> NDArray[np.float32]:
    return np.concatenate(list(read_npy(io.BytesIO(body), SPEC)))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_both_widths_both_byte_orders_and_all_versions_are_read(dtype: str, version: tuple[int, int]) -> None:
    got = read(save(ROWS.astype(dtype), version))
    assert got.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(got, ROWS)


@pytest.mark.parametrize(
    "dtype",
    [
        *("?", "|i1", "|u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8"),
        *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8"),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_all_kinds_of_numbers_are_read_in_both_orders(dtype: str, order: Literal["C", "F"]) -> None:
    array = np.arange(15).reshape(5, 3).astype(dtype, order=order)
    body = save(array)
    assert (b"'fortran_order': True" in body) == (order == "F")
    np.testing.assert_array_equal(read(body), array.astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<i4", 2**24 + 1),
        (">i4", -(2**24) - 1),
        ("<u4", 2**32 - 1),
        ("<i8", 2**53 + 1),
        ("<i8", 2**63 - 1),
        ("<u8", 2**64 - 1),
        ("<u8", 2**63 + 1),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_integer_that_float32_would_change_is_refused_with_its_place_and_value(
    dtype: str, value: int, order: Literal["C", "F"]
) -> None:
    array = np.ones((5, 3), dtype=dtype, order=order)
    array[3, 1] = value
    with pytest.raises(InvalidRowsError) as caught:
        read(save(array))
    (error,) = caught.value.errors
    assert (error.row, error.column) == (3, "sex")
    assert str(value) in error.detail


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("<i4", 2**24 + 2), ("<i4", -(2**31)), ("<u4", 2**31), ("<i8", -(2**63)), ("<u8", 2**63)],
)
def test_a_large_integer_that_float32_holds_is_taken(dtype: str, value: int) -> None:
    assert read(save(np.full((1, 3), value, dtype))).tolist() == [[float(value)] * 3]


def test_a_marker_is_missing_even_where_float32_would_change_it() -> None:
    spec = RowSpec(SPEC.features, 2, 9, missing=(-(2.0**24) - 1,))
    got = next(read_npy(io.BytesIO(save(np.array([[1, -(2**24) - 1, 3]]))), spec))
    np.testing.assert_array_equal(got, [[1, np.nan, 3]])


def test_chunks_have_the_wanted_rows() -> None:
    assert [len(chunk) for chunk in read_npy(io.BytesIO(save(ROWS)), SPEC)] == [2, 1]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (ROWS.astype(np.complex64), "floats"),
        (ROWS.astype(np.longdouble), "at most 64 bits"),
        (ROWS.astype("U8"), "codes for categories"),
        (np.zeros((1, 3), "M8[s]"), "floats"),
        (np.zeros(3, dtype=[("age", "<f4")]), "structured"),
        (ROWS.astype(object), "never unpickled"),
        (ROWS[0], "1 dimensions"),
        (ROWS[None], "3 dimensions"),
        (np.float32(1), "0 dimensions"),
        (ROWS[:, :2].copy(), "2 columns, the model has 3"),
        (ROWS[:0], "no rows"),
    ],
)
def test_another_array_than_can_be_explained_is_refused_with_the_remedy(array: Any, told: str) -> None:
    with pytest.raises(InvalidRowsError, match=told):
        read(save(np.asanyarray(array)))


class Trap:
    """Unpickling this would show."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def test_an_array_of_objects_is_never_unpickled() -> None:
    array = np.empty((1, 3), dtype=object)
    array[0, 0] = Trap()
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    with pytest.raises(InvalidRowsError, match="objects"):
        read(file.getvalue())
    assert not Trap.sprung


@pytest.mark.parametrize(
    ("value", "told"), [(np.inf, "infinity"), (-np.inf, "infinity"), (1e39, "float32's range")]
)
def test_infinity_and_what_is_beyond_float32_are_refused_with_their_place(value: float, told: str) -> None:
    array = ROWS.astype(np.float64)
    array[2, 1] = value
    with pytest.raises(InvalidRowsError) as caught:
        read(save(array))
    error = caught.value.errors[0]
    assert (error.row, error.column) == (2, "sex")
    assert told in error.detail


def test_every_body_cut_off_is_unreadable() -> None:
    body = save(ROWS)
    for end in range(len(body)):
        with pytest.raises(UnreadableBodyError, match=r"cut off|is empty|not an NPY file"):
            read(body[:end])


def test_bytes_after_the_promised_rows_are_refused() -> None:
    with pytest.raises(UnreadableBodyError, match="more bytes"):
        read(save(ROWS) + b"\x00")


def test_a_header_that_lies_about_its_rows_is_refused_with_the_row_where_it_ends() -> None:
    body = save(ROWS).replace(b"(3, 3)", b"(9, 3)")
    with pytest.raises(UnreadableBodyError, match="announces 9 rows, and there are 3"):
        read(body)


def test_more_rows_than_the_limit_are_refused_before_any_is_read() -> None:
    with pytest.raises(TooManyRowsError, match="100 rows"):
        read(with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 3)}"))


@pytest.mark.parametrize(
    "body",
    [
        b"\x93NUMPX\x01\x00",
        b"PK\x03\x04 an npz archive",
        b"\x93NUMPY\x09\x00\x10\x00",
        with_header("{}", length=4_000_000_000),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3)}"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3)}"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': 3}"),
        with_header("{'descr': '<f4', 'fortran_order': False}"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), 'more': 1}"),
        with_header("[]"),
        with_header("(" * 5000),
        with_header("-" * 9000 + "1"),
        with_header("{[]: 1}"),
        with_header("__import__('os').abort()"),
        with_header("9" * 9000),
        with_header("\x00"),
        b"\x93NUMPY\x03\x00\x01\x00\x00\x00\xff",
        *(
            with_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1, 3)}}")
            for descr in ("()", "('f4',)", "('<f4', 10**30)", "{'names': []}")
        ),
    ],
)
def test_a_header_that_makes_no_sense_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        read(body)


def test_no_damage_to_a_header_gives_anything_but_our_own_errors() -> None:
    body = save(ROWS)
    random = np.random.default_rng(5)
    for _ in range(2000):
        damaged = bytearray(body)
        damaged[random.integers(0, 80)] = random.integers(0, 256)
        with contextlib.suppress(UnreadableBodyError, InvalidRowsError, TooManyRowsError):
            read(bytes(damaged))
