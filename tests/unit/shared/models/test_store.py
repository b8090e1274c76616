from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shared.errors import ModelFaultError
from shared.models.catalog import find_faults
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = ModelDraft(
    name="wine",
    version=1,
    model=b"model",
    features=("a", "b"),
    outputs=("margin",),
    objective="reg:squarederror",
    xgboost_version="3.4.1",
    training={"why": "a test"},
    background=np.zeros((2, 2), dtype=np.float32),
)


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
        write_model_folder(root, dataclasses.replace(DRAFT, name=name))

    assert list(tmp_path.rglob("*")) == [root]


def test_a_draft_that_makes_no_manifest_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match="names something twice"):
        write_model_folder(tmp_path, dataclasses.replace(DRAFT, features=("a", "a")))

    assert list(tmp_path.iterdir()) == []
