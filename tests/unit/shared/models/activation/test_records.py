from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord

if TYPE_CHECKING:
    from pathlib import Path

RECORD = VersionRecord(
    "key",
    State.READY,
    contract={"format": 2},
    methods={
        ExplanationKind.TREE_PATH_DEPENDENT: MethodRecord("compiled-avx2", None, 1e-7, 2e-8, 1.5),
        ExplanationKind.INTERACTIONS: MethodRecord(None, "they are off by 0.5"),
    },
    seconds=1.25,
)


def test_the_records_survive_being_written_and_read(tmp_path: Path) -> None:
    written = Activations(
        "compiled-avx2", {"a@1": RECORD, "b@2": VersionRecord("other", State.REFUSED, "it is too large")}
    )
    path = tmp_path / "activations.json"
    written.write(path)

    assert Activations.read(path) == written
    assert Activations.read(path).versions["a@1"].methods == RECORD.methods
    assert Activations.read(path).versions["a@1"].contract == RECORD.contract
    assert Activations.read(path).versions["b@2"].state is State.REFUSED
    assert [one.name for one in tmp_path.iterdir()] == ["activations.json"]


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{}", b'{"versions": {"a@1": {}}}', b'{"versions": [], "engine": "x"}']
)
def test_of_a_file_that_is_not_understood_nothing_is_known(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "activations.json"
    if content is not None:
        path.write_bytes(content)

    assert Activations.read(path) == Activations()


def test_the_engines_of_what_can_be_compiled_are_told() -> None:
    assert Activations().best() == {"tree_path_dependent": "xgboost", "interventional": "shap"}
    assert set(Activations("compiled-avx2").best().values()) == {"compiled-avx2"}


def test_the_document_shows_every_method_with_its_figures() -> None:
    assert RECORD.document() == {
        "state": "ready",
        "reason": None,
        "seconds": 1.25,
        "methods": {
            "tree_path_dependent": {
                "engine": "compiled-avx2",
                "reason": None,
                "difference": 1e-7,
                "residual": 2e-8,
                "row_microseconds": 1.5,
            },
            "interactions": {
                "engine": None,
                "reason": "they are off by 0.5",
                "difference": None,
                "residual": None,
                "row_microseconds": None,
            },
        },
    }
