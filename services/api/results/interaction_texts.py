"""Interactions as JSON: each row's matrix of features, or its top pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from services.api.results.number_texts import dump_items, split_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.api.results.interaction_pages import InteractionPages


def member_name(result: InteractionPages) -> str:
    """Return what interactions are called in JSON."""
    return "interactions" if result.interactions.top_pairs is None else "pairs"


def row_texts(result: InteractionPages) -> Iterator[tuple[list[bytes], bool, bool]]:
    """Yield texts of rows: whole ones with (True, True), or parts of one and whether they begin and end it.

    Matrices are features x features, or features x features x outputs as shap.TreeExplainer's are. NaN is null.
    """
    if result.interactions.top_pairs is not None:
        write = _pair_writer(result.feature_names)
        for block in result.pieces():
            yield write(block), True, True
        return
    features, done = len(result.feature_names), 0
    for piece in result.pieces():
        array = piece[:, :, :features, :features].transpose(0, 2, 3, 1)
        array = array[..., 0] if array.shape[3] == 1 else array
        if piece.shape[2] > features:
            yield split_items(array), True, True
            continue
        done += array.shape[1]
        begins, ends = done == array.shape[1], done == features
        done = 0 if ends else done
        yield [(b"[" if begins else b",") + dump_items(array[0]) + (b"]" if ends else b"")], begins, ends


def _pair_writer(names: Sequence[str]) -> Callable[[NDArray[np.float32]], list[bytes]]:
    """Return what writes rows of pairs: each a list, or a list for each output, of features and value."""
    quoted = [orjson.dumps(name) for name in names]

    def write(block: NDArray[np.float32]) -> list[bytes]:
        rows, outputs, count, _ = block.shape
        numbers = iter(dump_items(block[..., 2].reshape(-1)).split(b","))
        places = block[..., :2].astype(int).reshape(-1, 2).tolist()
        given = (block[..., 2] != 0).reshape(-1).tolist()
        texts = [
            b'{"features":[%b,%b],"value":%b}' % (quoted[one], quoted[other], number) if is_given else b""
            for (one, other), number, is_given in zip(places, numbers, given, strict=True)
        ]
        lists = [
            b"[" + b",".join(filter(None, texts[at : at + count])) + b"]"
            for at in range(0, len(texts), count)
        ]
        if outputs == 1:
            return lists
        return [b"[" + b",".join(lists[at : at + outputs]) + b"]" for at in range(0, rows * outputs, outputs)]

    return write
