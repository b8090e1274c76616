from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.models.file_kinds import describe_foreign
from ops.models.source import read_source
from shared.build import ROOT
from tests.unit.ops.models.conftest import Owner, train

#: A file of xgboost-cpu 3.0.5's save_model("x.deprecated"): three features, one tree.
LEGACY = zlib.decompress(
    base64.b85decode(
        "c-l+K%u8di*Wb;|00E3p8kr9hqcsqK(nYE1R>g&-iAAX?sYONkMQl*<^rVua)Kq%9h#UZN8#@x8c@VhwKM;W2zy#&5{LQ-$NHu`m#sU@VY)#t_qFI3$7UCa6L+ye38va88NG"
        "w<D_&!FcnJ_WI)jIo_(9~Vu-C)avrta$Gopx2p=N%as3Y^aURx<*LZP?7?03;m)`oh8XPq_3A$d_=sYWL3$;e!VbAbSz~0!NUYNb-&#`w)BuN040%XsMbLO6MnKr6!kTmZiEv"
        "1*(<u5_40Ptd!8xo{|noC_X2@xH!Hbu_!TD$*NkZI5{yVHNGIfIKDhJGd-gOsLxQTwiW<5!*{>"
    )
)
#: Pickles fitted models, as users do, and runs the code that their descriptions give; prints the descriptions.
PICKLES = """
import json, pickle, re, joblib, numpy as np, xgboost as xgb
from pathlib import Path
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from ops.models.file_kinds import describe_foreign, unpack
rows = np.random.default_rng(1).normal(size=(60, 3)).astype("float32")
y = (rows[:, 0] > 0).astype(int)
model = xgb.XGBClassifier(n_estimators=2, n_jobs=1).fit(rows, y)
pipeline = Pipeline([("scale", StandardScaler()), ("model", xgb.XGBRegressor(n_estimators=2, n_jobs=1))]).fit(rows, y)
search = GridSearchCV(xgb.XGBClassifier(n_estimators=2, n_jobs=1), {"max_depth": [2]}, cv=2).fit(rows, y)
pickle.dump(model, open("wrapper.pkl", "wb"))
pickle.dump(model, open("wrapper-0.pkl", "wb"), protocol=0)
pickle.dump(model.get_booster(), open("it's.model", "wb"), protocol=2)
joblib.dump(model, "wrapper.joblib")
joblib.dump(model, "packed.joblib", compress=("zlib", 3))
joblib.dump(pipeline, "pipeline.joblib")
pickle.dump(search, open("search.pkl", "wb"))
pickle.dump({"model": model, "columns": ["a"]}, open("dict.pkl", "wb"))
joblib.dump(LinearRegression().fit(rows, y), "linear.joblib")
pickle.dump([1, 2], open("list.pkl", "wb"))
told = {}
for file in sorted(Path().iterdir()):
    content = file.read_bytes()
    unpacked = unpack(content)
    told[file.name] = describe_foreign(unpacked or content, file.name, compressed=unpacked is not None)
    code = re.search(r"run: (import .*)\\. Then add model\\.ubj\\.", told[file.name])
    if code and file.name != "dict.pkl":
        exec(code[1])
        assert xgb.Booster(model_file="model.ubj").num_boosted_rounds() == 2
        Path("model.ubj").unlink()
    elif file.name not in {"dict.pkl", "linear.joblib", "list.pkl"}:
        raise AssertionError(told[file.name])
print(json.dumps(told))
"""


def test_a_pickle_is_not_loaded_and_comes_with_code_that_saves_its_model(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", PICKLES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name, what in {
        "wrapper.pkl": "is a pickle file and holds an XGBoost XGBClassifier",
        "wrapper-0.pkl": "is a pickle file and holds an XGBoost XGBClassifier",
        "it's.model": "is a pickle file and holds an XGBoost Booster",
        "wrapper.joblib": "holds an XGBoost XGBClassifier",
        "packed.joblib": "is a joblib file and holds an XGBoost XGBClassifier",
        "pipeline.joblib": "is a joblib file and holds a scikit-learn Pipeline with an XGBoost XGBRegressor",
        "search.pkl": "is a pickle file and holds a GridSearchCV of an XGBoost XGBClassifier",
        "dict.pkl": "holds an XGBoost XGBClassifier",
        "linear.joblib": "is a joblib file that names no XGBoost model. Only models of XGBoost",
        "list.pkl": "is a pickle file that names no XGBoost model",
    }.items():
        assert what in told[name]


def test_a_pickle_that_would_run_code_is_only_read(owner: Owner) -> None:
    path = owner.folder / "m.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(owner.folder / "ran").encode() + b"'\ntR.")
    assert "names no XGBoost model" in owner.refuse("inspect", path)
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
