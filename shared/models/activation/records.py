"""Activation records: the result for each version, in a small file that all services read.

Activation inspects, compiles and verifies a version (shared/models/activation); it ends in *ready* or *refused*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import orjson

from shared.jobs.document import Method
from shared.models.contract import checksum_of

#: The engine that needs nothing but XGBoost.
XGBOOST = "xgboost"
#: The engine of `interventional` where nothing is compiled.
SHAP = "shap"


class ExplanationKind(StrEnum):
    """The kinds that are verified and offered: values of each method, and interactions."""

    TREE_PATH_DEPENDENT = Method.TREE_PATH_DEPENDENT.value
    INTERVENTIONAL = Method.INTERVENTIONAL.value
    INTERACTIONS = "interactions"


class State(StrEnum):
    """How an activation ended."""

    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class MethodRecord:
    """The result of verifying one method.

    `engine` is None where the method is not offered; `reason` then says why, and else why a slower engine explains it.
    `difference` is the largest distance of values from the reference, `residual` that of their sums from the margin, both
    relative to a row's largest value or 1. `row_microseconds` is the processor time of one row within a batch.
    """

    engine: str | None
    reason: str | None = None
    difference: float | None = None
    residual: float | None = None
    row_microseconds: float | None = None


def is_compiled(record: MethodRecord) -> bool:
    """Return whether the compiled engine explains a method."""
    return record.engine not in {None, XGBOOST, SHAP}


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """The result of activating one version.

    `key` names all that the outcome depends on: the files' bytes, this build, the limits. `contract` is a manifest of format 1
    as activation completed it from the model, else None. `seconds` is how long it took. `manifest` is the SHA-256 of the manifest
    that was activated; empty where the files were at fault.
    """

    key: str
    state: State
    reason: str | None = None
    contract: Mapping[str, Any] | None = field(default=None, hash=False)
    methods: Mapping[ExplanationKind, MethodRecord] = field(default_factory=dict, hash=False)
    seconds: float = 0.0
    manifest: str = ""

    def document(self) -> dict[str, Any]:
        """Return the part that /v1/models shows."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "seconds": self.seconds,
            "methods": {name.value: asdict(one) for name, one in self.methods.items()},
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """Read the result of `asdict`. Raises ValueError, TypeError or KeyError for anything else."""
        methods = {
            ExplanationKind(name): MethodRecord(**one) for name, one in document.pop("methods").items()
        }
        return cls(**{**document, "state": State(document["state"]), "methods": methods})


@dataclass(frozen=True, slots=True)
class Activations:
    """All versions' records by NAME@VERSION, and the engine of what can be compiled here."""

    engine: str = XGBOOST
    versions: Mapping[str, VersionRecord] = field(default_factory=dict, hash=False)

    def best(self) -> dict[str, str]:
        """Return the engine of each method for what can be compiled here."""
        interventional = SHAP if self.engine == XGBOOST else self.engine
        return {Method.TREE_PATH_DEPENDENT.value: self.engine, Method.INTERVENTIONAL.value: interventional}

    def write(self, path: Path) -> None:
        """Write the file at once. Raises OSError."""
        aside = path.with_suffix(".new")
        document = orjson.loads(orjson.dumps(asdict(self), option=orjson.OPT_NON_STR_KEYS))
        document["checksum"] = checksum_of(document)
        aside.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        aside.rename(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Without one that is as it was written there are no records."""
        try:
            document = orjson.loads(path.read_bytes())
            if document.pop("checksum") != checksum_of(document):
                return cls()
            versions = {
                name: VersionRecord.of_document(one) for name, one in document.pop("versions").items()
            }
            return cls(**document, versions=versions)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()
