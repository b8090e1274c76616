from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from shared.errors import ModelFaultError
from shared.models.catalog import find_faults
from shared.models.contract import Contract, Feature, Trees
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from pathlib import Path

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
    return dataclasses.replace(DRAFT, contract=dataclasses.replace(CONTRACT, **changes))


def test_a_written_folder_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    version = write_model_folder(tmp_path, DRAFT)

    assert find_faults(tmp_path) == []
    assert os.listdir(tmp_path / "wine") == ["1"]  # noqa: PTH208 - hidden names must show
    assert version.contract.size == 5


def test_a_version_that_is_there_is_kept_unless_replacing_is_asked_for(tmp_path: Path) -> None:
    write_model_folder(tmp_path, DRAFT)
    other = dataclasses.replace(DRAFT, model=b"another")

    with pytest.raises(FileExistsError):
        write_model_folder(tmp_path, other)
    assert (tmp_path / "wine/1/model.ubj").read_bytes() == b"model"

    write_model_folder(tmp_path, other, replace=True)
    assert (tmp_path / "wine/1/model.ubj").read_bytes() == b"another"
    assert os.listdir(tmp_path / "wine") == ["1"]  # noqa: PTH208 - hidden names must show


@pytest.mark.parametrize("name", ["../wine", "a/b", "", "Wine", ".."])
def test_a_name_that_is_a_path_never_reaches_the_disk(tmp_path: Path, name: str) -> None:
    root = tmp_path / "models"
    root.mkdir()

    with pytest.raises(ModelFaultError):
        write_model_folder(root, draft_with(name=name))

    assert list(tmp_path.rglob("*")) == [root]


def test_a_draft_that_makes_no_manifest_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match="names something twice"):
        write_model_folder(tmp_path, draft_with(features=(Feature("a"), Feature("a"))))

    assert list(tmp_path.iterdir()) == []


def test_expected_margins_are_kept_beside_the_model_and_checked(tmp_path: Path) -> None:
    margins = np.array([[0.5], [1.5]], dtype=np.float32)
    version = write_model_folder(tmp_path, dataclasses.replace(DRAFT, expected=(ROWS, margins)))

    expected = version.contract.expected
    assert expected is not None
    np.testing.assert_array_equal(np.load(version.folder / expected.margins.file), margins)
    assert find_faults(tmp_path) == []

    np.save(version.folder / expected.margins.file, margins + 1)
    assert "expected-margins.npy was altered" in find_faults(tmp_path)[0].what


def test_files_that_a_contract_names_and_the_draft_lacks_are_not_in_the_manifest(tmp_path: Path) -> None:
    first = write_model_folder(tmp_path, DRAFT)
    again = write_model_folder(tmp_path, ModelDraft(first.contract, b"model"), replace=True)

    assert again.contract.background is None
    assert find_faults(tmp_path) == []
