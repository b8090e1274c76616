"""A model's contract, in `models/NAME/VERSION/manifest.json`: features, outputs, rules.

Every service reads it, so that only workers and activation open the model itself. A model is more than its trees: which
of them count, the names of categories, the numbers that mean "missing", the link from margin to prediction. The contract
states all of these. Reading is strict (shared/models/manifest_reader.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

#: The contract's file name in a model's folder.
MANIFEST_FILE = "manifest.json"
#: The model's file name.
MODEL_FILE = "model.ubj"
#: The format that is written. Format 1, which had no number, is read and upgraded.
FORMAT = 2
#: A model's name: one path segment, never a path, safe in a URL and in a Prometheus label.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: A version as a folder's name and after the `@`: a whole number from 1, without leading zeros.
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,8}")
#: The only library whose models are read.
XGBOOST = "xgboost"

#: A category's label, as the training data has it.
type Label = str | int


class Kind(StrEnum):
    """The kinds of a feature's values."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    CATEGORY = "category"


class Link(StrEnum):
    """The function from margin to the owner's `predict`; the objective decides which."""

    IDENTITY = "identity"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    #: The class of the largest margin.
    ARGMAX = "argmax"
    EXP = "exp"
    #: 1 for a margin above 0, else 0.
    STEP = "step"


class TreesReason(StrEnum):
    """Why so many boosting rounds are used."""

    ALL = "all"
    BEST_ITERATION = "best_iteration"
    CHOSEN = "chosen"


class Adverse(StrEnum):
    """Which direction of a margin is adverse for the person that a row describes."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. `labels` are in code order; empty where the model has codes only."""

    name: str
    kind: Kind = Kind.NUMBER
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Trees:
    """How many boosting rounds of how many count, and why. gblinear has 0 of 0."""

    used: int
    total: int
    reason: TreesReason = TreesReason.ALL


@dataclass(frozen=True, slots=True)
class Reason:
    """The code and text of a feature or group that are given to a person."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a float32 matrix: its name, the SHA-256 of its bytes, its number of rows."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Margins (rows, outputs) that the owner's own model returned for rows (rows, features)."""

    rows: FileEntry
    margins: FileEntry


@dataclass(frozen=True, slots=True)
class Contract:
    """All that a manifest states about a model.

    `sha256` and `size` (bytes; None where not recorded) are those of `model.ubj`. `features` are the columns in the model's order,
    `outputs` name one margin each. `missing` are numbers that mean "missing", besides NaN. `trees` is None in a manifest of
    format 1, until activation has looked into the model. `background` and `examples` are `.npy` files of float32, rows x features,
    with codes for categories. `groups` name features that belong together; `reasons` are by feature or group; `never_reasons` must
    not be given as one. `training` is provenance, for people: it is kept as it is. `fallback` marks a placeholder model.
    """

    name: str
    version: int
    sha256: str
    features: tuple[Feature, ...]
    outputs: tuple[str, ...]
    objective: str
    library_version: str
    training: Mapping[str, Any] = field(hash=False)
    library: str = XGBOOST
    link: Link = Link.IDENTITY
    missing: tuple[float, ...] = ()
    trees: Trees | None = None
    precision: str = "float32"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    reasons: Mapping[str, Reason] = field(default_factory=dict, hash=False)
    never_reasons: tuple[str, ...] = ()
    adverse: Adverse | None = None
    background: FileEntry | None = None
    examples: FileEntry | None = None
    expected: Expected | None = None
    fallback: bool = False
    size: int | None = None
    format: int = FORMAT

    @property
    def id(self) -> str:
        """The model's full name, `NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        return tuple(feature.name for feature in self.features)

    def document(self) -> dict[str, Any]:
        """Return the contract as JSON-serializable values, as the manifest holds it."""
        document = asdict(self)
        for one in document["features"]:
            if one["kind"] != Kind.CATEGORY:
                del one["labels"]
        return {"format": document.pop("format"), **document}

    def to_json(self) -> bytes:
        """Return the manifest as indented UTF-8 JSON; the same contract gives the same bytes."""
        document = json.loads(json.dumps(replace(self, format=FORMAT).document(), allow_nan=False))
        document["checksum"] = checksum_of(document)
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


#: The links of XGBoost's objectives that are not the identity.
_LINKS = {
    "binary:logistic": Link.SIGMOID,
    "reg:logistic": Link.SIGMOID,
    "binary:hinge": Link.STEP,
    "multi:softprob": Link.SOFTMAX,
    "multi:softmax": Link.ARGMAX,
    "count:poisson": Link.EXP,
    "reg:gamma": Link.EXP,
    "reg:tweedie": Link.EXP,
    "survival:cox": Link.EXP,
    "survival:aft": Link.EXP,
}


def link_of(objective: str) -> Link:
    """Return how an XGBoost objective's `predict` turns margins into predictions."""
    return _LINKS.get(objective, Link.IDENTITY)


def checksum_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON document without its white space."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is named as a model's must be, `…/NAME/VERSION`."""
    return bool(NAME_PATTERN.fullmatch(folder.parent.name) and VERSION_PATTERN.fullmatch(folder.name))


def remedy_for(folder: Path) -> str:
    """Return how to repair a model's folder with wrong files or a wrong name."""
    if folder.name and not is_model_folder(folder):
        return (
            "Name it NAME/VERSION (a name of a-z, 0-9, '.', '_' and '-'; a whole number from 1), "
            "or move it out of the models' folder."
        )
    name, version = (folder.parent.name or "NAME"), (folder.name or "N")
    return (
        f"Restore {folder} from version control, or add the model again with "
        f"`python -m ops.models add {name} FILE --version {version}`."
    )
