from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord

METHODS = {
    ExplanationKind.TREE_PATH_DEPENDENT: MethodRecord("compiled-avx2", None, 1e-7, 2e-8, 1.5),
    ExplanationKind.INTERACTIONS: MethodRecord(None, "they are off by 0.5"),
}
RECORD = VersionRecord("key", State.READY, contract={"format": 2}, methods=METHODS, seconds=1.25)


def test_the_records_survive_being_written_and_read_and_of_a_damaged_file_nothing_is_known(
    tmp_path: Path,
) -> None:
    refused = VersionRecord("other", State.REFUSED, "it is too large")
    written = Activations("compiled-avx2", {"a@1": RECORD, "b@2": refused})
    path = tmp_path / "activations.json"
    assert Activations.read(path) == Activations()
    written.write(path)
    read = Activations.read(path)
    assert read == written
    assert (read.versions["a@1"].methods, read.versions["a@1"].contract) == (METHODS, {"format": 2})
    assert [one.name for one in tmp_path.iterdir()] == ["activations.json"]
    for content in (b"", b"[]", b"{}", b'{"versions": {"a@1": {}}}', b'{"versions": [], "engine": "x"}'):
        path.write_bytes(content)
        assert Activations.read(path) == Activations()


def test_the_document_shows_every_method_with_its_figures_and_the_best_engines() -> None:
    methods = {kind.value: asdict(method) for kind, method in METHODS.items()}
    assert RECORD.document() == {"state": "ready", "reason": None, "seconds": 1.25, "methods": methods}
    assert methods["tree_path_dependent"]["row_microseconds"] == 1.5
    assert Activations().best() == {"tree_path_dependent": "xgboost", "interventional": "shap"}
    assert set(Activations("compiled-avx2").best().values()) == {"compiled-avx2"}
