"""A result as JSON that loads into shap.Explanation, or as NDJSON with an object per row.

Numbers are the shortest texts that give back the same float32; NaN becomes null. In both formats the axis of outputs comes
last, and is left out for a model with one output.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import orjson

from services.api.results.result import Result, StoredRows
from shared.explanation import Matrix

#: Base values and margins kept from the first pass, at most; for more, the blocks are read again.
KEPT_NUMBERS = 262_144


def write_json(result: Result) -> Iterator[bytes]:
    """Write `values`, `base_values`, `predictions`, and `interactions` or `pairs` if requested.

    The blocks are read once for a small result, three times for a large one, and never held.
    """
    yield _head(result) + b',"values":['
    kept: list[tuple[Matrix, Matrix]] = []
    keep = 2 * result.rows * len(result.output_names) <= KEPT_NUMBERS

    def values() -> Iterator[Matrix]:
        for block in result.explanations():
            if keep:
                kept.append((block.base_values.copy(), block.margins.copy()))
            yield block.values

    yield from _items(values())
    for place, name in enumerate((b"base_values", b"predictions")):
        yield b'],"%b":[' % name
        sums = kept if keep else ((block.base_values, block.margins) for block in result.explanations())
        yield from _items(pair[place] for pair in sums)
    yield b"]"
    if (stored := result.with_interactions) is not None:
        yield b',"%b":[' % _member_name(stored)
        separator = b""
        for texts, begins, _ in _interaction_texts(result, stored):
            yield (separator if begins else b"") + b",".join(texts)
            separator = b","
        yield b"]"
    yield b"}"


def write_ndjson(result: Result) -> Iterator[bytes]:
    """Write the members of `write_json`, in the singular, per row."""
    blocks = _row_members(result)
    if (stored := result.with_interactions) is None:
        for rows in blocks:
            yield b"".join(b"{%b}\n" % row for row in rows)
        return
    heads = itertools.chain.from_iterable(blocks)
    name = b',"%b":' % _member_name(stored)
    for texts, begins, ends in _interaction_texts(result, stored):
        yield b"".join(
            (b"{" + next(heads) + name if begins else b"") + text + (b"}\n" if ends else b"")
            for text in texts
        )


def dump_items(array: Matrix) -> bytes:
    """Write the items of the first axis with commas: a JSON array without its brackets."""
    # orjson takes contiguous arrays only; strides of blocks cut out of a larger array are not.
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _split_items(array: Matrix) -> list[bytes]:
    """Write each item of the first axis as JSON. One call for all of them is many times faster."""
    depth = array.ndim - 1
    if depth == 0:
        return dump_items(array).split(b",")
    opened, closed = b"[" * depth, b"]" * depth
    inner = dump_items(array)[depth:-depth]
    return [opened + item + closed for item in inner.split(closed + b"," + opened)]


def _outputs_last(array: Matrix) -> Matrix:
    """Move the axis of outputs, the second, to the end, or drop it for a single output."""
    return array[:, 0] if array.shape[1] == 1 else np.moveaxis(array, 1, -1)


def _head(result: Result) -> bytes:
    return orjson.dumps(
        {
            "job": result.job_id,
            "model": result.model,
            "method": result.method,
            "feature_names": list(result.feature_names),
            "output_names": list(result.output_names),
        }
    )[:-1]


def _items(arrays: Iterable[Matrix]) -> Iterator[bytes]:
    separator = b""
    for array in arrays:
        if len(array):
            yield separator + dump_items(_outputs_last(array))
            separator = b","


def _row_members(result: Result) -> Iterator[list[bytes]]:
    """Yield for each block its rows' members, without the braces around them."""
    for block in result.explanations():
        if len(block):
            parts = (block.values, block.base_values, block.margins)
            rows = zip(*(_split_items(_outputs_last(part)) for part in parts), strict=True)
            yield [b'"values":%b,"base_value":%b,"prediction":%b' % row for row in rows]


def _member_name(stored: StoredRows) -> bytes:
    return b"interactions" if stored.interactions.top_pairs is None else b"pairs"


def _interaction_texts(result: Result, stored: StoredRows) -> Iterator[tuple[list[bytes], bool, bool]]:
    """Yield texts of whole rows, or of parts of one; then whether they begin and end it.

    Matrices are features x features, or features x features x outputs as shap.TreeExplainer's are.
    """
    if stored.interactions.top_pairs is not None:
        quoted = [orjson.dumps(name) for name in result.feature_names]
        for block in stored.pieces():
            yield _pair_texts(block, quoted), True, True
        return
    features, done = len(result.feature_names), 0
    for piece in stored.pieces():
        array = _outputs_last(piece[:, :, :features, :features])
        if piece.shape[2] > features:
            yield _split_items(array), True, True
            continue
        done += array.shape[1]
        begins, ends = done == array.shape[1], done == features
        done = 0 if ends else done
        yield [(b"[" if begins else b",") + dump_items(array[0]) + (b"]" if ends else b"")], begins, ends


def _pair_texts(block: Matrix, quoted: Sequence[bytes]) -> list[bytes]:
    """Write rows of pairs: each a list, or a list for each output.

    `quoted` are the features' names as JSON. A value of 0 stands for no pair.
    A call of orjson for each row would take some 4 kB of memory for each, however short.
    """
    _, outputs, count, _ = block.shape
    pairs = block.reshape(-1, 3)
    places, given = pairs[:, :2].astype(int).tolist(), (pairs[:, 2] != 0).tolist()
    numbers = dump_items(pairs[:, 2]).split(b",")
    texts = (
        b'{"features":[%b,%b],"value":%b}' % (quoted[one], quoted[other], number) if is_given else b""
        for (one, other), is_given, number in zip(places, given, numbers, strict=True)
    )
    lists = [b"[%b]" % b",".join(filter(None, some)) for some in itertools.batched(texts, count)]
    if outputs == 1:
        return lists
    return [b"[%b]" % b",".join(some) for some in itertools.batched(lists, outputs)]
