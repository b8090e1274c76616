"""Finds out what a file really is, and says how to get a model from it that can be added."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import re
import shlex
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from ops.models.pickles import describe_pickle, is_pickle

#: Bytes that are unpacked to see what a compressed file holds.
_LOOK = 1 << 20
_SAVE = 'Save the model with XGBoost where it was trained: model.save_model("model.ubj").'
_ONLY_XGBOOST = "Only models of XGBoost are served here."
_HEAD = 4096

#: XGBoost's binary format has an objective and a booster by name, each after its length in 8 bytes.
_LEGACY = re.compile(
    rb"[a-z]{3,8}:[a-z0-9]+.{0,7}(?:\x06\0{7}gbtree|\x04\0{7}dart|\x08\0{7}gblinear)", re.DOTALL
)
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}

#: How files begin that are something else, what they are, and what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, not the model itself",
        "Run: git lfs pull",
    ),
    (b"tree\nversion=", "a LightGBM model", _ONLY_XGBOOST),
    (b"CBM1", "a CatBoost model", _ONLY_XGBOOST),
    (b"\x93NUMPY", "a NumPy array, not a model", f"{_SAVE} Rows are given with --background or --examples."),
    (b"\x89HDF", "an HDF5 file, not a model of XGBoost", _SAVE),
    (b"PAR1", "a Parquet file, not a model", _SAVE),
    (b"booster[0]", "a text dump (dump_model), which cannot be loaded again", _SAVE),
    (b"0:[", "a text dump (get_dump), which cannot be loaded again", _SAVE),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "Unpack it first: lz4 -d < {file} > model.ubj"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it first: zstd -d < {file} > model.ubj"),
)
_PACKERS: tuple[tuple[bytes, str, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gzip", "gunzip < {file} > {out}", lambda: zlib.decompressobj(31)),
    (b"BZh", "bzip2", "bunzip2 < {file} > {out}", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", "xz", "unxz < {file} > {out}", lzma.LZMADecompressor),
    (b"\x5d\0\0", "lzma", "unlzma < {file} > {out}", lzma.LZMADecompressor),
    (b"x\x01", "zlib", "", zlib.decompressobj),
    (b"x\x5e", "zlib", "", zlib.decompressobj),
    (b"x\x9c", "zlib", "", zlib.decompressobj),
    (b"x\xda", "zlib", "", zlib.decompressobj),
)


def model_bytes(content: bytes) -> bytes:
    """Return a file's bytes as XGBoost reads them: no byte order mark, no leading blanks."""
    return content.removeprefix(_UTF8_BOM).lstrip(b" \t\r\n") if may_be_model(content) else content


def may_be_model(content: bytes) -> bool:
    """Whether a file begins as UBJSON or JSON of XGBoost does."""
    begins = content[:_HEAD].removeprefix(_UTF8_BOM).lstrip(b" \t\r\n")
    return begins.startswith(b"{") and begins[1:2] != b"\0"


def describe_foreign(content: bytes, file: str) -> str | None:
    """Say what a file is and what to do, if XGBoost does not save such files; None otherwise."""
    if not content.strip():
        return f"{file} is empty. Save or copy the model again."
    if may_be_model(content):
        return None
    return _described(content, file)


def describe_failure(content: bytes, file: str, said: str) -> str:
    """Say why XGBoost cannot load a file that begins as a model. `said` is its own reason."""
    if content[1:2] in {b"L", b"l", b"I", b"i", b"U"}:  # the marker of a length: UBJSON
        return (
            f"{file} begins as a model in UBJSON and cannot be loaded: it is truncated or damaged ({said}). "
            "Save or copy it again."
        )
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"{file} begins as JSON and is truncated or damaged ({error}). Save or copy it again."
    return _described_json(document, file, said)


def _described(content: bytes, file: str, *, compressed: bool = False) -> str:
    for beginning, what, remedy in _BEGINNINGS:
        if content.startswith(beginning):
            return f"{file} is {what}. {remedy.replace('{file}', shlex.quote(file))}"
    if is_pickle(content):
        return describe_pickle(content, file, compressed=compressed)
    if content.startswith((b"binf", b"bs64")) or _LEGACY.search(content[:_HEAD]):
        return _described_legacy(file)
    for beginning, packer, command, unpacker in _PACKERS:
        if content.startswith(beginning) and (inner := _unpacked(content, unpacker)):
            return _described_packed(inner, file, packer, command)
    return _described_text(content, file) or _described_container(content, file)


def _described_legacy(file: str) -> str:
    return (
        f"{file} is a model in XGBoost's old binary format, which XGBoost 3.1 and later cannot read. Save it again with an "
        f'older XGBoost: pip install "xgboost<3.1", then in Python: import xgboost; '
        f'b = xgboost.Booster(model_file=bytearray(open({file!r}, "rb").read())); b.save_model("model.ubj"). '
        "The old format has no feature names: set b.feature_names before save_model to send rows by name."
    )


def _unpacked(content: bytes, unpacker: Callable[[], Any]) -> bytes:
    """Unpack a file's beginning; empty if it is not compressed in this way."""
    try:
        return bytes(unpacker().decompress(content, _LOOK))
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        return b""


def _described_packed(inner: bytes, file: str, packer: str, command: str) -> str:
    if is_pickle(inner):
        return describe_pickle(inner, file, compressed=True)
    if may_be_model(inner):
        out = "model.json" if inner[1:2] in b'" \r\n\t' else "model.ubj"
        if not command:
            command = (
                "python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))' "
                "< {file} > {out}"
            )
        run = command.replace("{file}", shlex.quote(file)).replace("{out}", out)
        return f"{file} is compressed by {packer}. Unpack it first: {run}"
    if inner[257:262] == b"ustar":
        return f"{file} is a tar archive compressed by {packer}. Unpack it first: tar -xf {shlex.quote(file)}"
    return f"{file} is compressed by {packer}, and what is in it is no model: {_described(inner, 'the content', compressed=True)}"


def _described_text(content: bytes, file: str) -> str | None:
    encoding = _UTF16_BOMS.get(content[:2]) or {b"{\0": "UTF-16LE", b"\0{": "UTF-16BE"}.get(content[:2])
    if encoding:
        return (
            f"{file} is text in UTF-16, and XGBoost reads JSON in UTF-8. Convert it: "
            f"iconv -f {encoding} -t UTF-8 {shlex.quote(file)} > model.json"
        )
    begins = content[:_HEAD].removeprefix(_UTF8_BOM).lstrip().lower()
    if begins.startswith((b"<!doctype html", b"<html")):
        return f"{file} is an HTML page, such as a login or error page that was saved in the model's place. Download the model again."
    if b"<pmml" in begins:
        return f"{file} is PMML, which XGBoost cannot read. {_SAVE}"
    if begins.startswith(b"["):
        return f"{file} is a JSON list, such as a dump of trees (dump_model), which cannot be loaded again. {_SAVE}"
    return None


def _described_container(content: bytes, file: str) -> str:
    if zipfile.is_zipfile(io.BytesIO(content)):
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        if names and all(name.endswith(".npy") for name in names):
            return f"{file} is an .npz file of NumPy arrays, not a model. {_SAVE}"
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        return f"{file} is a zip archive of {listed}. Unpack it first: unzip {shlex.quote(file)}"
    if content[257:262] == b"ustar":
        return f"{file} is a tar archive. Unpack it first: tar -xf {shlex.quote(file)}"
    if content[:1] == b"\x08" and re.search(
        rb"onnx|TreeEnsemble|ai\.onnx\.ml", content[:_HEAD], re.IGNORECASE
    ):
        return f"{file} is an ONNX model. XGBoost cannot read it. {_SAVE}"
    return f"{file} is not a model of XGBoost: it begins with {content[:16]!r}. {_SAVE}"


def _described_json(document: Any, file: str, said: str) -> str:
    learner = document.get("learner")
    if "Config" in document and "Model" in document:
        return f"{file} is a snapshot of a Booster's memory (serialize), not a saved model. {_SAVE}"
    if isinstance(learner, dict) and "learner_train_param" in learner:
        return f"{file} is a Booster's configuration (save_config), which holds no trees. {_SAVE}"
    if "oblivious_trees" in document:
        return f"{file} is a CatBoost model. {_ONLY_XGBOOST}"
    if "tree_info" in document:
        return f"{file} is a LightGBM model. {_ONLY_XGBOOST}"
    if not isinstance(learner, dict):
        keys = ", ".join(map(repr, list(document)[:5]))
        return f"{file} is JSON, but not a model of XGBoost: it has the keys {keys or 'of an empty object'}. {_SAVE}"
    return f"{file} cannot be used: {said}. {_SAVE}"
