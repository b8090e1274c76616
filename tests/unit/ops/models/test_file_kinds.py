from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import pickle
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ops.models.file_kinds import describe_foreign
from ops.models.source import read_source
from tests.unit.ops.models.conftest import Owner, train

#: A file of xgboost-cpu 3.0.5's save_model("x.deprecated"): three features, one tree.
LEGACY = zlib.decompress(
    base64.b85decode(
        "c-l+K%u8di*Wb;|00E3p8kr9hqcsqK(nYE1R>g&-iAAX?sYONkMQl*<^rVua)Kq%9h#UZN8#@x8c@VhwKM;W2zy#&5{LQ-$NHu`m#sU@VY)#t_qFI3$7UCa6L+ye38va88NG"
        "w<D_&!FcnJ_WI)jIo_(9~Vu-C)avrta$Gopx2p=N%as3Y^aURx<*LZP?7?03;m)`oh8XPq_3A$d_=sYWL3$;e!VbAbSz~0!NUYNb-&#`w)BuN040%XsMbLO6MnKr6!kTmZiEv"
        "1*(<u5_40Ptd!8xo{|noC_X2@xH!Hbu_!TD$*NkZI5{yVHNGIfIKDhJGd-gOsLxQTwiW<5!*{>"
    )
)
CLASSIFIER = "xgboost.sklearn.XGBClassifier"


class Pickled:
    """Stands in for the classes of XGBoost and scikit-learn, which take seconds to import."""

    def __getitem__(self, index: int) -> Any:
        return self.__dict__["steps"][index]

    def save_model(self, file: str) -> None:
        Path(file).touch()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make an object of a class that pickle finds at a path."""
    holders: dict[str, ModuleType] = {}

    def made(path: str, **content: Any) -> Any:
        module, _, name = path.rpartition(".")
        kind = type(name, (Pickled,), {"__module__": module})
        for end in (module.find("."), len(module)):  # the package as well, which would be imported
            monkeypatch.setitem(
                sys.modules, module[:end], holders.setdefault(module[:end], ModuleType(module[:end]))
            )
        holders[module].__dict__[name] = kind
        one = kind()
        one.__dict__.update(content)
        return one

    return made


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pickle_is_not_loaded_and_comes_with_code_that_saves_its_model(
    make: Callable[..., Any], owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(owner.folder)
    model = make(CLASSIFIER)
    booster, regressor = make("xgboost.core.Booster"), make("xgboost.sklearn.XGBRegressor")
    pipeline = make("sklearn.pipeline.Pipeline", steps=[1, regressor])
    search = make("sklearn.model_selection._search.GridSearchCV", best_estimator_=model)
    for name, content, what in (
        ("default", pickle.dumps(model), "pickle file and holds an XGBoost XGBClassifier"),
        ("0", pickle.dumps(model, 0), "pickle file and holds an XGBoost XGBClassifier"),
        ("it's", pickle.dumps(booster, 2), "pickle file and holds an XGBoost Booster"),
        ("packed", zlib.compress(pickle.dumps(model)), "joblib file and holds an XGBoost XGBClassifier"),
        (
            "steps",
            pickle.dumps(pipeline),
            "pickle file and holds a scikit-learn Pipeline with an XGBoost",
        ),
        ("search", pickle.dumps(search), "pickle file and holds a GridSearchCV of an XGBoost XGBClassifier"),
    ):
        Path(name).write_bytes(content)
        said = owner.refuse("inspect", name)
        assert f"{name} is a {what}" in said
        code = re.search(r"run: (import .*)\. Then add model\.ubj\.", said)
        assert code is not None
        exec(code[1], {})
        Path("model.ubj").unlink()


def test_other_pickles_are_only_read(make: Callable[..., Any], owner: Owner) -> None:
    path = owner.folder / "m.pkl"
    runs = b"cos\nsystem\n(S'touch " + str(owner.folder / "ran").encode() + b"'\ntR."
    for content, what in (
        (runs, "names no XGBoost model. Only models of XGBoost"),
        (pickle.dumps([1, 2]), "names no XGBoost model"),
        (pickle.dumps(make("sklearn.linear_model._base.LinearRegression")), "names no XGBoost model"),
        (pickle.dumps({"model": make(CLASSIFIER)}), "holds an XGBoost XGBClassifier"),
    ):
        path.write_bytes(content)
        assert what in owner.refuse("inspect", path)
    assert not (owner.folder / "ran").exists()


def test_a_model_is_taken_by_any_name_in_any_encoding_and_compressed(owner: Owner) -> None:
    booster = train(["a", "b", "c"])
    raw = {kind: bytes(booster.save_raw(kind)) for kind in ("json", "ubj")}
    changes: list[tuple[str, str, Callable[[bytes], bytes]]] = [
        ("m", "json", bytes),
        ("m.ubj", "json", bytes),
        ("m.json", "ubj", bytes),
        ("m.json", "json", lambda content: b"\xef\xbb\xbf" + content),
        ("m.json", "json", lambda content: b" \r\n" + content + b"\n"),
        ("m.json", "json", lambda content: json.dumps(json.loads(content), indent=2).encode()),
        ("m.json", "json", lambda content: content.decode().encode("utf-16")),
        ("m.gz", "json", gzip.compress),
        ("m.bz2", "ubj", bz2.compress),
        ("m.xz", "json", lzma.compress),
        ("m.pkl", "ubj", zlib.compress),
    ]
    for name, kind, change in changes:
        path = owner.folder / name
        path.write_bytes(change(raw[kind]))
        source = read_source(path)
        assert [feature.name for feature in source.inspection.features] == ["a", "b", "c"]
        assert source.model == raw["ubj"]


def test_the_old_binary_format_comes_with_the_call_that_saves_it_again() -> None:
    for content in (LEGACY, LEGACY[4:]):
        said = describe_foreign(content, "old/m.model", compressed=False) or ""
        assert "is a model in XGBoost's old binary format" in said
        assert 'pip install "xgboost<3.1"' in said
        assert "model_file=bytearray(open('old/m.model', \"rb\").read())" in said
        assert 'b.save_model("model.ubj")' in said


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b" \n", "is empty", "Save or copy the model again."),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer", "git lfs pull"),
        (gzip.compress(b"tree\nversion=v4\n", mtime=0), "is a LightGBM model", "Only models of XGBoost"),
        (b'{"name": "tree", "version": "v4", "tree_info": []}', "is a LightGBM model", "Only models of"),
        (b"CBM1\x00\x01", "is a CatBoost model", "Only models of XGBoost"),
        (b'{"features_info": {}, "oblivious_trees": []}', "is a CatBoost model", "Only models of XGBoost"),
        (b"\n<!DOCTYPE html><html><body>Log in", "is an HTML page", "Download the model again"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array", "--background"),
        (b"booster[0]:\n0:[f0<0.5]", "is a dump of trees", 'save_model("model.ubj")'),
        (b'[{"nodeid": 0}]', "is a dump of trees", 'save_model("model.ubj")'),
        (b'{"layers": []}', "is JSON, but not a model of XGBoost: it has the keys 'layers'", "save_model"),
        (b"no model", "is not a model of XGBoost: it begins with b'no model'", "save_model"),
        (b"PK\x03\x04", "is a zip archive", "unzip "),
        (b"m" + bytes(256) + b"ustar", "is a tar archive", "tar -xf "),
        (gzip.compress(b"{}" * 99, mtime=0)[:-9], "is compressed, and truncated or damaged", "copy it again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_told_by_their_bytes(owner: Owner, content: bytes, what: str, remedy: str) -> None:
    path = owner.folder / "m.ubj"
    path.write_bytes(content)
    said = owner.refuse("inspect", path)
    assert f"{path} {what}" in said
    assert remedy in said


def test_damaged_and_impossible_models_are_refused(owner: Owner) -> None:
    booster = train(["a", "b", "c"])
    raw = {kind: bytes(booster.save_raw(kind)) for kind in ("json", "ubj")}
    document: Any = json.loads(raw["json"])
    document["learner"]["learner_model_param"]["num_feature"] = "-1"
    huge = json.dumps(document).encode()
    document["learner"]["gradient_booster"] = {"name": "gbforest"}
    for content, what in (
        (raw["json"][: len(raw["json"]) // 2], "truncated or damaged .*. Save or copy it again."),
        (raw["ubj"][:-90], "truncated or damaged .*. Save or copy it again."),
        (booster.save_config().encode(), "is a Booster's configuration .save_config., which holds no trees"),
        (huge, "says that it has 4294967295 features"),
        (json.dumps(document).encode(), "cannot be used"),
    ):
        path = owner.folder / "m.json"
        path.write_bytes(content)
        assert re.search(what, owner.refuse("add", "m", path))
    for missing in (owner.folder, owner.folder / "missing.ubj"):
        assert f"{missing} cannot be read" in owner.refuse("inspect", missing)
