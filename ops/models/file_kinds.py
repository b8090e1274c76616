"""Finds out what a file really is, and says how to get a model from it that can be added."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import shlex
import zlib
from collections.abc import Callable

_SAVE = 'Save the model with XGBoost where it was trained: model.save_model("model.ubj").'
_RESAVE = (
    'Save it again with an older XGBoost: pip install "xgboost<3.1", then in Python: import xgboost; '
    'b = xgboost.Booster(model_file=bytearray(open({literal}, "rb").read())); b.save_model("model.ubj"). '
    "The old format has no feature names: set b.feature_names before save_model to send rows by name."
)
_ONLY_XGBOOST = "Only models of XGBoost are served here."
_HEAD = 4096

_UNPACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
    b"x": zlib.decompress,
}
_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

#: The first bytes of files that are something else, what they are, and what to do.
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (rb"\s*\Z", "empty", "Save or copy the model again."),
    (rb"version https://git-lfs", "a Git LFS pointer, not the model itself", "Run: git lfs pull"),
    (rb"tree\nversion=", "a LightGBM model", _ONLY_XGBOOST),
    (rb"CBM1", "a CatBoost model", _ONLY_XGBOOST),
    (rb"\x93NUMPY", "a NumPy array, not a model", f"{_SAVE} Rows are given with --background or --examples."),
    (rb"booster\[0\]|0:\[|\[", "a dump of trees (dump_model), which cannot be loaded again", _SAVE),
    (rb"\x1f\x8b|BZh|\xfd7zXZ", "compressed, and truncated or damaged", "Save or copy it again."),
    (rb"PK\x03\x04", "a zip archive or a NumPy .npz", "If it holds the model, unpack it first: unzip {file}"),
    (rb"(?s).{257}ustar", "a tar archive", "Unpack it first: tar -xf {file}"),
    (rb"(?is)\s*<(!doctype )?html", "an HTML page, such as a login page", "Download the model again."),
    (
        # The objective and the booster by name, each after its length in 8 bytes.
        rb"(?s)binf|bs64|.*[a-z]{3,8}:[a-z0-9]+.{0,7}(\x06\0{7}gbtree|\x04\0{7}dart|\x08\0{7}gblinear)",
        "a model in XGBoost's old binary format, which XGBoost 3.1 and later cannot read",
        _RESAVE,
    ),
)
#: Keys of JSON files that XGBoost refuses, what the files are, and what to do.
_FOREIGN_JSON: tuple[tuple[str, str, str], ...] = (
    ('"oblivious_trees"', "a CatBoost model", _ONLY_XGBOOST),
    ('"tree_info"', "a LightGBM model", _ONLY_XGBOOST),
    ('"learner_train_param"', "a Booster's configuration (save_config), which holds no trees", _SAVE),
)

#: How a pickle begins: a protocol from 2, or of protocol 0 or 1 a global, a dict or a list.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n\w+\n|\([dl]p\d*\n|\(c[\w.]+\n")
#: A class of a library that a pickle names, in any protocol.
_CLASS = re.compile(rb"(?:xgboost|sklearn)(?:\.\w+)+\W{1,6}([A-Z]\w+)")


def unpack(content: bytes) -> bytes | None:
    """Unpack a file that gzip, bzip2, xz or zlib compressed; None if none of them did."""
    for beginning, unpacked in _UNPACKERS.items():
        if content.startswith(beginning):
            try:
                return unpacked(content)
            except (zlib.error, OSError, EOFError, lzma.LZMAError):
                return None
    return None


def plain_bytes(content: bytes) -> bytes:
    """Return a file's bytes as XGBoost reads them: JSON in UTF-8 without leading blanks."""
    for beginning, encoding in _ENCODINGS.items():
        if content.startswith(beginning):
            content = content.decode(encoding, "replace").encode()
    return content.lstrip() if content.lstrip().startswith(b"{") else content


def describe_foreign(content: bytes, file: str, *, compressed: bool) -> str | None:
    """Say what a file is and what to do, if XGBoost does not save such files; None otherwise."""
    if content.startswith(b"{"):
        return None
    if _PICKLE.match(content):
        return _describe_pickle(content, file, "joblib" if compressed or b"joblib" in content else "pickle")
    for pattern, what, remedy in _FOREIGN:
        if re.match(pattern, content[:_HEAD]):
            run = remedy.replace("{file}", shlex.quote(file)).replace("{literal}", repr(file))
            return f"{file} is {what}. {run}"
    return f"{file} is not a model of XGBoost: it begins with {content[:16]!r}. {_SAVE}"


def describe_failure(content: bytes, file: str, said: str) -> str:
    """Say why XGBoost cannot load a file that begins as a model. `said` is its own reason."""
    damaged = "and is truncated or damaged"
    if content[1:2] in {b"L", b"l", b"I", b"i", b"U"}:  # the marker of a length: UBJSON
        return f"{file} begins as a model in UBJSON {damaged} ({said}). Save or copy it again."
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"{file} begins as JSON {damaged} ({error}). Save or copy it again."
    text = json.dumps(document)
    for key, what, remedy in _FOREIGN_JSON:
        if key in text:
            return f"{file} is {what}. {remedy}"
    if "learner" in document:
        return f"{file} cannot be used: {said}. {_SAVE}"
    keys = ", ".join(map(repr, list(document)[:5])) or "of an empty object"
    return f"{file} is JSON, but not a model of XGBoost: it has the keys {keys}. {_SAVE}"


def _describe_pickle(content: bytes, file: str, library: str) -> str:
    """Describe a pickle without loading it, which would run its code.

    The outermost class is first.
    """
    names = [name.decode() for name in _CLASS.findall(content)]
    models = [name for name in names if name == "Booster" or name.startswith("XGB")]
    if not models:
        return f"{file} is a {library} file that names no XGBoost model. {_ONLY_XGBOOST} {_SAVE}"
    load = f"joblib.load({file!r})" if library == "joblib" else f'pickle.load(open({file!r}, "rb"))'
    holds, model, notes = f"an XGBoost {models[0]}", "model", ""
    if names[0] == "Pipeline":
        holds, model = f"a scikit-learn Pipeline with {holds}", "model[-1]"
        notes = " Its features are the columns that the last step receives."
    elif names[0].endswith("SearchCV"):
        holds, model = f"a {names[0]} of {holds}", "model.best_estimator_"
    if models[0] != "Booster":
        notes += " If the model's `missing` is a number, give it with --missing."
    return (
        f"{file} is a {library} file and holds {holds}. It is not loaded here, since loading a pickle runs the code in it. "
        f'Where the model was trained, run: import {library}; model = {load}; {model}.save_model("model.ubj"). '
        f"Then add model.ubj.{notes}"
    )
