"""The manifest that stands beside every model, `models/NAME/VERSION/manifest.json`: what the model takes and gives.

It is read by every service, so that none but the worker ever has to open the model itself. Reading is
strict: a key that is missing, unknown or of the wrong type is a fault, because a manifest that is nearly
right explains the wrong columns.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shared.errors import ModelFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a manifest's file is called in its model's folder.
MANIFEST_FILE = "manifest.json"

#: What the model's file is called in its folder.
MODEL_FILE = "model.ubj"

#: A model's name: one path segment, never a path, safe in a URL and in a Prometheus label.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

#: A version as a folder's name and after the `@`: a whole number from 1, without leading zeros.
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,8}")

_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REQUIRED = (
    "name",
    "version",
    "sha256",
    "features",
    "outputs",
    "objective",
    "xgboost_version",
    "training",
)
_OPTIONAL = ("size", "background", "examples", "fallback")


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is named as a model's must be, `…/NAME/VERSION`."""
    return bool(NAME_PATTERN.fullmatch(folder.parent.name) and VERSION_PATTERN.fullmatch(folder.name))


def remedy_for(folder: Path) -> str:
    """Say how a model's folder whose files or name are wrong is put right."""
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


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A float32 matrix beside the model: its file name, the SHA-256 of its bytes, and how many rows it has."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is, as its manifest says.

    `sha256` and `size` (bytes; None where not recorded) are those of `model.ubj`. `features` are the columns
    in the model's order, `outputs` name one margin each. `background` and `examples` are `.npy` files of
    float32, rows x features. `training` is provenance, for people: it is kept as it is. `fallback` marks a
    stand-in that explains nothing real.
    """

    name: str
    version: int
    sha256: str
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    objective: str
    xgboost_version: str
    training: Mapping[str, Any] = field(hash=False)
    background: FileEntry | None = None
    examples: FileEntry | None = None
    fallback: bool = False
    size: int | None = None

    @property
    def id(self) -> str:
        """The model's full name, `NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    @classmethod
    def from_json(cls, text: bytes, source: Path = Path(MANIFEST_FILE)) -> Self:
        """Read a manifest from its JSON text; `source` is the file that faults are blamed on.

        Raises ModelFaultError, which names the file, the fault and the remedy.
        """
        reader = _Reader(source, text)
        reader.refuse_unknown_and_missing()
        return cls(
            name=reader.matching(
                "name", NAME_PATTERN, "a name of a-z, 0-9, '.', '_' and '-', at most 64 long"
            ),
            version=reader.positive("version", reader.document),
            sha256=reader.sha256(reader.document, "sha256"),
            features=reader.names("features"),
            outputs=reader.names("outputs"),
            objective=reader.text("objective"),
            xgboost_version=reader.text("xgboost_version"),
            training=reader.mapping("training"),
            background=reader.file_entry("background"),
            examples=reader.file_entry("examples"),
            fallback=reader.flag("fallback"),
            size=None if reader.document.get("size") is None else reader.positive("size", reader.document),
        )

    def to_json(self) -> bytes:
        """Write the manifest as UTF-8 JSON that reads well in a diff; the same manifest gives the same bytes."""
        document = {**asdict(self), "training": dict(self.training)}
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class _Reader:
    """Takes typed values out of a manifest's JSON document; every fault names the file and the remedy."""

    def __init__(self, source: Path, text: bytes) -> None:
        self._source = source
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._fail(f"it is not JSON ({error})" if text.strip() else "it is empty")
        if not isinstance(document, dict):
            self._fail("it is not a JSON object")
        self.document: dict[str, Any] = document

    def _fail(self, what: str) -> Any:
        raise ModelFaultError(f"{self._source} cannot be used: {what}. {remedy_for(self._source.parent)}")

    def refuse_unknown_and_missing(self) -> None:
        missing = [key for key in _REQUIRED if key not in self.document]
        if missing:
            self._fail(f"it lacks {', '.join(missing)}")
        unknown = sorted(set(self.document) - set(_REQUIRED) - set(_OPTIONAL))
        if unknown:
            self._fail(f"it has unknown keys ({', '.join(unknown)})")

    def text(self, key: str) -> str:
        value = self.document[key]
        if not isinstance(value, str) or not value:
            self._fail(f"'{key}' must be a text that is not empty")
        return str(value)

    def matching(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        value = self.text(key)
        return value if pattern.fullmatch(value) else str(self._fail(f"'{key}' must be {what}"))

    def positive(self, key: str, within: Mapping[str, Any]) -> int:
        value = within.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._fail(f"'{key}' must be a whole number from 1, and is {value!r}")
        return int(value or 0)

    def sha256(self, within: Mapping[str, Any], key: str) -> str:
        value = within.get("sha256")
        if not isinstance(value, str) or not _SHA256_PATTERN.fullmatch(value):
            self._fail(f"'{key}' must be a SHA-256 as 64 digits 0-9a-f")
        return str(value)

    def names(self, key: str) -> tuple[str, ...]:
        values = self.document[key]
        if not isinstance(values, list) or not values:
            self._fail(f"'{key}' must be a list of names that is not empty")
        if not all(isinstance(value, str) and value.strip() and value.isprintable() for value in values):
            self._fail(f"'{key}' must hold printable texts only")
        if len(set(values)) != len(values):
            self._fail(f"'{key}' names something twice")
        return tuple(values)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.document[key]
        if not isinstance(value, dict):
            self._fail(f"'{key}' must be an object")
        return dict(value)

    def flag(self, key: str) -> bool:
        value = self.document.get(key, False)
        if not isinstance(value, bool):
            self._fail(f"'{key}' must be true or false")
        return bool(value)

    def file_entry(self, key: str) -> FileEntry | None:
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or set(value) != {"file", "sha256", "rows"}:
            self._fail(f"'{key}' must be null or an object of file, sha256 and rows")
        file = value["file"]
        if not isinstance(file, str) or not _FILE_PATTERN.fullmatch(file):
            self._fail(f"'{key}.file' must be the name of a file in the same folder")
        return FileEntry(
            file=str(file),
            sha256=self.sha256(value, f"{key}.sha256"),
            rows=self.positive("rows", value),
        )
