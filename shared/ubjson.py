"""Reads UBJSON as XGBoost writes it, with arrays of numbers as NumPy arrays.

The format is draft 12 of https://ubjson.org. A model's JSON takes some 500 bytes of Python objects a node; its typed arrays take what they hold.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

#: Numbers by their marker, as `struct` and NumPy name them: all are big-endian.
_NUMBERS = dict(zip(b"iUIlLdD", (">b", ">B", ">h", ">i", ">q", ">f", ">d"), strict=True))
_WORDS = {ord("Z"): None, ord("T"): True, ord("F"): False}
#: Containers within each other, at most: Python's stack is finite.
_MOST_DEPTH = 64


def read_ubjson(content: bytes) -> Any:
    """Read one value; typed arrays become NumPy arrays in native byte order. Raises ValueError."""
    try:
        return _Reader(content).value(0)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError("this UBJSON is truncated or invalid") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def value(self, depth: int) -> Any:
        marker = self._marker()
        if depth > _MOST_DEPTH:
            raise ValueError("this UBJSON is nested too deeply")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == ord("S"):
            return self._text()
        if marker == ord("{"):
            return self._object(depth)
        if marker == ord("["):
            return self._array(depth)
        raise ValueError(f"byte {self._at - 1} of this UBJSON, {marker}, is no marker")

    def _marker(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _take(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._content):
            raise ValueError("this UBJSON is truncated")
        return self._content[self._at - size : self._at]

    def _numbers(self, marker: int, count: int) -> Any:
        dtype: np.dtype[Any] = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self._take(count * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))

    def _number(self, marker: int) -> int | float:
        # There is one for each name and text: NumPy would take ten times as long.
        kind = _NUMBERS[marker]
        number: int | float = struct.unpack(kind, self._take(struct.calcsize(kind)))[0]
        return number

    def _length(self) -> int:
        marker = self._marker()
        if marker not in b"iUIlL":
            raise ValueError("a length in this UBJSON is not a whole number")
        length = int(self._number(marker))
        if not 0 <= length <= len(self._content):
            raise ValueError(f"a length in this UBJSON is {length}")
        return length

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._content[self._at] != ord("}"):
            name = self._text()
            found[name] = self.value(depth + 1)
        self._at += 1
        return found

    def _array(self, depth: int) -> Any:
        kind, count = None, None
        if self._content[self._at] == ord("$"):
            self._at += 1
            kind = self._marker()
        if self._content[self._at] == ord("#"):
            self._at += 1
            count = self._length()
        if kind is not None:
            if kind not in _NUMBERS or count is None:
                raise ValueError("a typed array in this UBJSON holds no numbers")
            return self._numbers(kind, count)
        if count is not None:
            return [self.value(depth + 1) for _ in range(count)]
        items = []
        while self._content[self._at] != ord("]"):
            items.append(self.value(depth + 1))
        self._at += 1
        return items
