from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ModelFaultError
from shared.models.catalog import find_faults
from shared.models.contract import Contract, Feature, Trees
from shared.models.store import ModelDraft, write_model_folder

CONTRACT = Contract(
    name="wine",
    version=1,
    sha256="",
    features=(Feature("a"), Feature("b")),
    outputs=("margin",),
    objective="reg:squarederror",
    library_version="3.4.1",
    trees=Trees(1, 1),
    training={"why": "a test"},
)
ROWS = np.zeros((2, 2), dtype=np.float32)
DRAFT = ModelDraft(CONTRACT, b"model", background=ROWS)


def draft_with(**changes: Any) -> ModelDraft:
    return replace(DRAFT, contract=replace(CONTRACT, **changes))


def test_a_folder_is_written_whole_and_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    written = write_model_folder(tmp_path, DRAFT)
    assert written.contract.size == 5
    with pytest.raises(FileExistsError):
        write_model_folder(tmp_path, replace(DRAFT, model=b"another"))
    assert written.model_path.read_bytes() == b"model"
    assert find_faults(tmp_path) == []

    # The contract of the first names background rows, which the second draft lacks.
    again = write_model_folder(tmp_path, ModelDraft(written.contract, b"another"), replace=True)
    assert again.contract.background is None
    assert again.model_path.read_bytes() == b"another"
    assert find_faults(tmp_path) == []
    assert os.listdir(tmp_path / "wine") == ["1"]  # noqa: PTH208 - hidden names must show


def test_what_makes_no_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("../wine", "a/b", "", "Wine", ".."):
        with pytest.raises(ModelFaultError):
            write_model_folder(tmp_path / "models", draft_with(name=name))
    with pytest.raises(ModelFaultError, match="names something twice"):
        write_model_folder(tmp_path / "models", draft_with(features=(Feature("a"), Feature("a"))))
    assert list(tmp_path.iterdir()) == []


def test_expected_margins_are_kept_beside_the_model_and_checked(tmp_path: Path) -> None:
    margins = np.array([[0.5], [1.5]], dtype=np.float32)
    version = write_model_folder(tmp_path, replace(DRAFT, expected=(ROWS, margins)))
    assert version.contract.expected is not None
    path = version.folder / version.contract.expected.margins.file
    np.testing.assert_array_equal(np.load(path), margins)
    assert find_faults(tmp_path) == []
    np.save(path, margins + 1)
    assert "expected-margins.npy was altered" in find_faults(tmp_path)[0].what
