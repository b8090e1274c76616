"""UBJSON as XGBoost writes it, against the JSON of the same boosters, and invalid bytes."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ubjson import read_ubjson
from tests.support.boosters import train
from tests.support.shapley import KINDS


def same(found: Any, wanted: Any) -> bool:
    """Compare with JSON, whose floats are the shortest decimals of a float32."""
    if isinstance(found, np.ndarray):
        return found.dtype.isnative and np.array_equal(found, np.array(wanted, dtype=found.dtype))
    if isinstance(found, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name]) for name in wanted)
    if isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(found, float):
        return bool(np.float32(found) == np.float32(wanted))
    return bool(found == wanted) and isinstance(found, type(wanted))


def content_of(booster: Any) -> bytes:
    return bytes(booster.save_raw("ubj"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_the_same_as_in_json(kind: str) -> None:
    booster, x = train(trees=2, **KINDS[kind])
    booster.set_attr(best_iteration="1", note='quoted "é" \t 日本')
    booster.feature_names = ["a\u00a0b", " tab\t", *(f"日本{number}" for number in range(x.shape[1] - 2))]
    learner = read_ubjson(content_of(booster))
    assert same(learner, json.loads(bytes(booster.save_raw("json"))))
    assert learner["learner"]["feature_names"] == booster.feature_names


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"Z", None),
        (b"T", True),
        (b"F", False),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\xff\xfe", -2),
        (b"l\x00\x01\x00\x00", 65536),
        (b"L" + struct.pack(">q", -(2**40)), -(2**40)),
        (b"d" + struct.pack(">f", 0.5), 0.5),
        (b"D" + struct.pack(">d", 0.1), 0.1),
        (b"Si\x02hi", "hi"),
        (b"[]", []),
        (b"{}", {}),
        (b"[i\x01Z{i\x01aT}]", [1, None, {"a": True}]),
        (b"[#i\x02ZSU\x01x", [None, "x"]),
    ],
)
def test_each_kind_of_value_is_read(content: bytes, value: Any) -> None:
    found = read_ubjson(content)
    assert found == value
    assert type(found) is type(value)


def test_typed_arrays_become_native_arrays() -> None:
    found = read_ubjson(b"[$d#i\x02" + struct.pack(">2f", 0.5, -2))
    assert (found.dtype, found.dtype.isnative, found.tolist()) == (np.float32, True, [0.5, -2])
    assert read_ubjson(b"[$L#U\x00").tolist() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is truncated"),
        (b"i", "is truncated"),
        (b"D\x00", "is truncated"),
        (b"[Z", "is truncated"),
        (b"{i\x01a", "is truncated"),
        (b"Si\x05hi", "a length .* is 5|is truncated"),
        (b"Si\xff", "a length .* is -1"),
        (b"Sd\x00\x00\x00\x00", "not a whole number"),
        (b"Si\x02\xff\xff", "is truncated or invalid"),
        (b"[$L#L" + struct.pack(">q", 2**62), "a length"),
        (b"[$L#l" + struct.pack(">i", -1), "a length .* is -1"),
        (b"[#L" + struct.pack(">q", 2**40), "a length"),
        (b"[$d", "is truncated"),
        (b"[$di\x01", "holds no numbers"),
        (b"[$Z#i\x02", "holds no numbers"),
        (b"Q", "byte 0 of this UBJSON, 81, is no marker"),
        (b"[iQN", "is no marker"),
        (b"[" * 65, "is truncated"),
        (b"[" * 66, "nested too deeply"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b"{i\x01a" * 70, "nested too deeply"),
    ],
)
def test_what_breaks_off_or_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_ubjson(content)


def test_truncated_models_are_refused_and_altered_bytes_give_a_value_or_a_value_error() -> None:
    whole, chance = content_of(train(2, 1, 2)[0]), np.random.default_rng(0)
    assert read_ubjson(whole)["version"]
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="UBJSON"):
            read_ubjson(whole[:end])
    refused = 0
    for _ in range(1000):
        content = bytearray(whole)
        for place in chance.integers(0, len(content), 3):
            content[place] = chance.integers(0, 256)
        try:
            read_ubjson(bytes(content))
        except ValueError:
            refused += 1
    assert 150 < refused < 1000


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*b"iUIlLdDSTFZ[]{}$#\x00\x01\x7f\xff"]), max_size=60))
def test_any_bytes_give_a_value_or_a_value_error(content: list[int]) -> None:
    try:
        read_ubjson(bytes(content))
    except ValueError:
        return
