from pathlib import Path

import pytest

from shared.engine_record import EngineRecord


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = EngineRecord("compiled-avx2", {"a@1": "compiled-avx2", "b@1": "xgboost"}, {"b@1": "why"})
    record.write(tmp_path / "engines.json")
    assert EngineRecord.read(tmp_path / "engines.json") == record
    assert [record.of(model) for model in ("a@1", "b@1", "c@1")] == ["compiled-avx2", "xgboost", "xgboost"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"engin": "x"}', b'{"engine": '])
def test_where_none_is_understood_xgboost_explains_everything(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "engines.json"
    if content is not None:
        path.write_bytes(content)
    assert EngineRecord.read(path) == EngineRecord()
    assert EngineRecord.read(path).of("a@1") == "xgboost"
