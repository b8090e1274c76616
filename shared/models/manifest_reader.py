"""Reads a manifest: a key that is missing, unknown or of the wrong type is a fault.

A manifest that is nearly right explains the wrong columns. Format 1 had no `format`, features as names alone, and
`xgboost_version`; what it says nothing of is read from the model at activation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import orjson

from shared.errors import ModelFaultError
from shared.models.contract import (
    FORMAT,
    MANIFEST_FILE,
    NAME_PATTERN,
    XGBOOST,
    Adverse,
    Contract,
    Expected,
    Feature,
    FileEntry,
    Kind,
    Label,
    Link,
    Reason,
    Trees,
    TreesReason,
    checksum_of,
    link_of,
    remedy_for,
)

_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BOTH = ("name", "version", "sha256", "features", "outputs", "objective", "training")
_REQUIRED = {
    1: (*_BOTH, "xgboost_version"),
    2: (*_BOTH, "format", "library", "library_version", "link", "missing", "trees", "precision"),
}
_OPTIONAL_1 = ("size", "background", "examples", "fallback")
_OPTIONAL_2 = (*_OPTIONAL_1, "expected", "groups", "reasons", "never_reasons", "adverse", "checksum")
_OPTIONAL = {1: _OPTIONAL_1, 2: _OPTIONAL_2}


def read_contract(text: bytes, source: Path = Path(MANIFEST_FILE)) -> Contract:
    """Read a contract from a manifest's JSON text; `source` is the file that faults name.

    Raises ModelFaultError, which names the file, the fault and the remedy.
    """
    reader = _Reader(source, text)
    found = reader.format()
    reader.refuse_unknown_and_missing(found)
    reader.refuse_altered()
    contract = _read(reader, found)
    _check_names(reader, contract)
    return contract


def _read(reader: _Reader, found: int) -> Contract:
    document = reader.document
    objective = reader.text("objective")
    new = found > 1
    return Contract(
        name=reader.matching("name", NAME_PATTERN, "a name of a-z, 0-9, '.', '_' and '-', at most 64 long"),
        version=reader.whole("version", document),
        sha256=reader.sha256(document, "sha256"),
        features=reader.features() if new else tuple(map(Feature, reader.names("features"))),
        outputs=reader.names("outputs"),
        objective=objective,
        library=reader.library() if new else XGBOOST,
        library_version=reader.text("library_version" if new else "xgboost_version"),
        training=reader.mapping("training"),
        link=reader.choice(Link, "link") if new else link_of(objective),
        missing=reader.numbers("missing") if new else (),
        trees=reader.trees() if new else None,
        precision=reader.text("precision") if new else "float32",
        groups=reader.groups(),
        reasons=reader.reasons(),
        never_reasons=reader.names("never_reasons") if document.get("never_reasons") else (),
        adverse=reader.choice(Adverse, "adverse") if document.get("adverse") is not None else None,
        background=reader.file_entry(document.get("background"), "background"),
        examples=reader.file_entry(document.get("examples"), "examples"),
        expected=reader.expected(),
        fallback=reader.flag("fallback"),
        size=None if document.get("size") is None else reader.whole("size", document),
        format=found,
    )


def _check_names(reader: _Reader, contract: Contract) -> None:
    """Check that what is said of features and groups is said of some that there are."""
    features = set(contract.feature_names)
    if len(features) < len(contract.features):
        reader.fail("'features' names something twice")
    for group, members in contract.groups.items():
        if group in features:
            reader.fail(f"the group {group!r} is called as a feature is")
        if unknown := [name for name in members if name not in features]:
            reader.fail(f"the group {group!r} names {unknown[0]!r}, which is no feature")
    known = features | set(contract.groups)
    for key in (*contract.reasons, *contract.never_reasons):
        if key not in known:
            reader.fail(f"'reasons' names {key!r}, which is neither a feature nor a group")


class _Reader:
    """Reads typed values from a manifest; every fault names the file and the remedy."""

    def __init__(self, source: Path, text: bytes) -> None:
        self._source = source
        try:
            document = orjson.loads(text)  # strict: no NaN, and no text that cannot be written again
        except ValueError as error:
            self.fail(f"it is not JSON ({error})" if text.strip() else "it is empty")
        if not isinstance(document, dict):
            self.fail("it is not a JSON object")
        self.document: dict[str, Any] = document

    def fail(self, what: str) -> NoReturn:
        raise ModelFaultError(f"{self._source} cannot be used: {what}. {remedy_for(self._source.parent)}")

    def format(self) -> int:
        found = self.document.get("format", 1)
        if not isinstance(found, int) or isinstance(found, bool) or found not in _REQUIRED:
            self.fail(f"its format is {found!r}, and this version of Shapbox reads 1 to {FORMAT}")
        return found

    def refuse_unknown_and_missing(self, found: int) -> None:
        if missing := [key for key in _REQUIRED[found] if key not in self.document]:
            self.fail(f"it lacks {', '.join(missing)}")
        if unknown := sorted(set(self.document) - set(_REQUIRED[found]) - set(_OPTIONAL[found])):
            self.fail(f"it has unknown keys ({', '.join(unknown)})")

    def refuse_altered(self) -> None:
        """Refuse a manifest that was altered: nothing else would show a changed name."""
        checksum = self.document.get("checksum")
        rest = {key: value for key, value in self.document.items() if key != "checksum"}
        if checksum is not None and checksum != checksum_of(rest):
            self.fail(
                "its checksum is not that of its content (remove 'checksum' if you changed it on purpose)"
            )

    def text(self, key: str) -> str:
        value = self.document[key]
        if not isinstance(value, str) or not value:
            self.fail(f"'{key}' must be a text that is not empty")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        value = self.text(key)
        return value if pattern.fullmatch(value) else self.fail(f"'{key}' must be {what}")

    def library(self) -> str:
        value = self.text("library")
        return value if value == XGBOOST else self.fail(f"'library' must be {XGBOOST}, and is {value!r}")

    def choice[T: StrEnum](self, choices: type[T], key: str) -> T:
        try:
            return choices(self.document[key])
        except ValueError:
            self.fail(f"'{key}' must be one of {', '.join(choices)}, and is {self.document[key]!r}")

    def whole(self, key: str, within: Mapping[str, Any], least: int = 1) -> int:
        value = within.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.fail(f"'{key}' must be a whole number from {least}, and is {value!r}")
        return value

    def sha256(self, within: Mapping[str, Any], key: str) -> str:
        value = within.get("sha256")
        if not isinstance(value, str) or not _SHA256_PATTERN.fullmatch(value):
            self.fail(f"'{key}' must be a SHA-256 as 64 digits 0-9a-f")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        return self._texts(self.document[key], key)

    def _texts(self, values: Any, key: str) -> tuple[str, ...]:
        if not isinstance(values, list) or not values:
            self.fail(f"'{key}' must be a list of names that is not empty")
        if not all(isinstance(value, str) and value for value in values):
            self.fail(f"'{key}' must hold texts that are not empty")
        if len(set(values)) != len(values):
            self.fail(f"'{key}' names something twice")
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        values = self.document[key]
        if not isinstance(values, list) or not all(
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            for value in values
        ):
            self.fail(f"'{key}' must be a list of finite numbers")
        return tuple(map(float, values))

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.document.get(key) or {}
        if not isinstance(value, dict):
            self.fail(f"'{key}' must be an object")
        return dict(value)

    def flag(self, key: str) -> bool:
        value = self.document.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"'{key}' must be true or false")
        return value

    def features(self) -> tuple[Feature, ...]:
        values = self.document["features"]
        if not isinstance(values, list) or not values:
            self.fail("'features' must be a list that is not empty")
        return tuple(map(self._feature, values))

    def _feature(self, value: Any) -> Feature:
        if not isinstance(value, dict) or not {"name", "kind"} <= set(value) <= {"name", "kind", "labels"}:
            self.fail("each of 'features' must be an object of name, kind and, for a category, labels")
        name, kind, labels = value["name"], value["kind"], value.get("labels", [])
        if not isinstance(name, str) or not name:
            self.fail("a feature's name must be a text that is not empty")
        if kind not in list(Kind):
            self.fail(f"the kind of {name!r} must be one of {', '.join(Kind)}, and is {kind!r}")
        if labels and kind != Kind.CATEGORY:
            self.fail(f"{name!r} has labels and is no category")
        return Feature(name, Kind(kind), self._labels(name, labels))

    def _labels(self, name: str, labels: Any) -> tuple[Label, ...]:
        if not isinstance(labels, list) or {type(label) for label in labels} not in ({str}, {int}, set()):
            self.fail(f"the labels of {name!r} must be all texts or all whole numbers")
        if len(set(labels)) != len(labels):
            self.fail(f"{name!r} has a label twice")
        return tuple(labels)

    def trees(self) -> Trees:
        value = self.document["trees"]
        if not isinstance(value, dict) or set(value) != {"used", "total", "reason"}:
            self.fail("'trees' must be an object of used, total and reason")
        if value["reason"] not in list(TreesReason):
            self.fail(f"'trees.reason' must be one of {', '.join(TreesReason)}")
        used, total = (self.whole(key, value, 0) for key in ("used", "total"))
        if used > total or (total and not used):
            self.fail(f"'trees' says that {used} of {total} are used")
        return Trees(used, total, TreesReason(value["reason"]))

    def groups(self) -> dict[str, tuple[str, ...]]:
        return {
            name: self._texts(members, f"groups.{name}") for name, members in self.mapping("groups").items()
        }

    def reasons(self) -> dict[str, Reason]:
        found = {}
        for name, value in self.mapping("reasons").items():
            if not isinstance(value, dict) or set(value) != {"code", "text"}:
                self.fail(f"'reasons.{name}' must be an object of code and text")
            if not all(isinstance(value[key], str) and value[key] for key in value):
                self.fail(f"'reasons.{name}' must hold texts that are not empty")
            found[name] = Reason(value["code"], value["text"])
        return found

    def file_entry(self, value: Any, key: str) -> FileEntry | None:
        if value is None:
            return None
        if not isinstance(value, dict) or set(value) != {"file", "sha256", "rows"}:
            self.fail(f"'{key}' must be null or an object of file, sha256 and rows")
        file = value["file"]
        if not isinstance(file, str) or not _FILE_PATTERN.fullmatch(file):
            self.fail(f"'{key}.file' must be the name of a file in the same folder")
        return FileEntry(file, self.sha256(value, f"{key}.sha256"), self.whole("rows", value))

    def expected(self) -> Expected | None:
        value = self.document.get("expected")
        if value is None:
            return None
        if not isinstance(value, dict) or set(value) != {"rows", "margins"}:
            self.fail("'expected' must be null or an object of rows and margins")
        rows, margins = (self.file_entry(value[key], f"expected.{key}") for key in ("rows", "margins"))
        if rows is None or margins is None or rows.rows != margins.rows:
            self.fail("'expected' must hold as many margins as rows")
        return Expected(rows, margins)
