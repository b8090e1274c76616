from pathlib import Path

import pytest

from shared.engine_record import EngineRecord
from shared.jobs.document import Method


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = EngineRecord("compiled-avx2", {"a@1": "compiled-avx2", "b@1": "xgboost"}, {"b@1": "why"})
    record.write(tmp_path / "engines.json")
    assert EngineRecord.read(tmp_path / "engines.json") == record
    assert [record.of(model) for model in ("a@1", "b@1", "c@1")] == ["compiled-avx2", "xgboost", "xgboost"]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_methods_have_engines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    EngineRecord("x", {"a@1": "x"}, {}, {"a@1": "y", "b@1": "shap"}, {"b@1": "why"}).write(path)
    record = EngineRecord.read(path)
    found = [record.of(model, Method.INTERVENTIONAL) for model in ("a@1", "b@1", "c@1")]
    assert found == ["y", "shap", "shap"]
    assert record.of("a@1") == "x"
    assert record.interventional_reasons == {"b@1": "why"}


def test_a_record_of_an_earlier_version_leaves_backgrounds_to_shap(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    path.write_bytes(b'{"engine": "x", "models": {"a@1": "x"}, "reasons": {}}')
    record = EngineRecord.read(path)
    assert (record.of("a@1"), record.of("a@1", Method.INTERVENTIONAL)) == ("x", "shap")


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"engin": "x"}', b'{"engine": '])
def test_where_none_is_understood_xgboost_explains_everything(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "engines.json"
    if content is not None:
        path.write_bytes(content)
    assert EngineRecord.read(path) == EngineRecord()
    assert EngineRecord.read(path).of("a@1") == "xgboost"
