from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.models.source import read_source
from shared.errors import ModelFaultError
from tests.unit.ops.models.conftest import train

#: A file of xgboost-cpu 3.0.5's save_model("x.deprecated"): three features, one tree.
LEGACY = zlib.decompress(
    base64.b85decode(
        "c-l+K%u8di*Wb;|00E3p8kr9hqcsqK(nYE1R>g&-iAAX?sYONkMQl*<^rVua)Kq%9h#UZN8#@x8c@VhwKM;W2zy#&5{LQ-$NHu`m#sU@VY)#t_qFI3$7UCa6L+ye38va88NG"
        "w<D_&!FcnJ_WI)jIo_(9~Vu-C)avrta$Gopx2p=N%as3Y^aURx<*LZP?7?03;m)`oh8XPq_3A$d_=sYWL3$;e!VbAbSz~0!NUYNb-&#`w)BuN040%XsMbLO6MnKr6!kTmZiEv"
        "1*(<u5_40Ptd!8xo{|noC_X2@xH!Hbu_!TD$*NkZI5{yVHNGIfIKDhJGd-gOsLxQTwiW<5!*{>"
    )
)
#: Writes pickles of fitted models into its folder, as users do: XGBoost with scikit-learn, in a process of its own.
WRITES_PICKLES = """
import pickle, joblib, numpy as np, xgboost as xgb, warnings
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
rows = np.random.default_rng(1).normal(size=(60, 3)).astype("float32")
y = (rows[:, 0] > 0).astype(int)
model = xgb.XGBClassifier(n_estimators=2, n_jobs=1).fit(rows, y)
pipeline = Pipeline([("scale", StandardScaler()), ("model", xgb.XGBRegressor(n_estimators=2, n_jobs=1))]).fit(rows, y)
search = GridSearchCV(xgb.XGBClassifier(n_estimators=2, n_jobs=1), {"max_depth": [2]}, cv=2).fit(rows, y)
pickle.dump(model, open("wrapper.pkl", "wb"))
pickle.dump(model, open("wrapper-0.pkl", "wb"), protocol=0)
pickle.dump(model.get_booster(), open("it's.model", "wb"), protocol=2)
joblib.dump(model, "wrapper.joblib")
for packer in ("zlib", "gzip", "bz2", "xz"):
    joblib.dump(model, f"wrapper-{packer}.joblib", compress=(packer, 3))
joblib.dump(pipeline, "pipeline.joblib")
pickle.dump(search, open("search.pkl", "wb"))
pickle.dump({"model": model, "columns": ["a"]}, open("dict.pkl", "wb"))
joblib.dump(LinearRegression().fit(rows, y), "linear.joblib")
pickle.dump([1, 2], open("list.pkl", "wb"))
"""


@pytest.fixture(scope="module")
def pickles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pickles")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", WRITES_PICKLES], cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def booster() -> Any:
    return train(["a", "b", "c"])


@pytest.fixture(scope="module")
def raw(booster: Any) -> dict[str, bytes]:
    return {kind: bytes(booster.save_raw(kind)) for kind in ("json", "ubj")}


@pytest.fixture
def say(tmp_path: Path) -> Callable[..., str]:
    """Write a file, and return why it is refused."""

    def said(content: bytes, name: str = "m.ubj") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return refusal(path)

    return said


def refusal(path: Path) -> str:
    with pytest.raises(ModelFaultError) as caught:
        read_source(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert "/workspace/" not in said
    return said


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("m", "json", lambda content: content),
        ("m.pkl", "ubj", lambda content: content),
        ("m.ubj", "json", lambda content: content),
        ("m.json", "ubj", lambda content: content),
        ("m.json", "json", lambda content: b"\xef\xbb\xbf" + content),
        ("m.json", "json", lambda content: b" \r\n" + content + b"\n"),
        ("m.json", "json", lambda content: json.dumps(json.loads(content), indent=2).encode()),
        ("m.json", "json", lambda content: content.decode().encode("utf-16")),
        ("m.json", "json", lambda content: content.decode().encode("utf-16-be")),
        ("m.gz", "json", gzip.compress),
        ("m.bz2", "ubj", bz2.compress),
        ("m.xz", "json", lzma.compress),
        ("m.ubj", "ubj", zlib.compress),
    ],
)
def test_a_model_is_taken_by_any_name_in_any_encoding_and_compressed(
    tmp_path: Path, raw: dict[str, bytes], name: str, kind: str, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(change(raw[kind]))

    source = read_source(path)

    assert [feature.name for feature in source.inspection.features] == ["a", "b", "c"]
    assert source.model == raw["ubj"]


@pytest.mark.parametrize("content", [LEGACY, LEGACY[4:]])
def test_the_old_binary_format_comes_with_the_call_that_saves_it_again(
    say: Callable[..., str], content: bytes
) -> None:
    said = say(content, "m.model")

    assert "is a model in XGBoost's old binary format" in said
    assert 'pip install "xgboost<3.1"' in said
    assert re.search(r'model_file=bytearray\(open\(\'.*m.model\', "rb"\).read\(\)\)', said)
    assert 'b.save_model("model.ubj")' in said


def test_a_pickle_is_not_loaded_and_comes_with_code_that_saves_its_model(
    pickles: Path, tmp_path: Path
) -> None:
    codes: list[str] = []
    for name, what in (
        ("wrapper.pkl", "is a pickle file and holds an XGBoost XGBClassifier"),
        ("wrapper-0.pkl", "is a pickle file and holds an XGBoost XGBClassifier"),
        ("it's.model", "is a pickle file and holds an XGBoost Booster"),
        ("wrapper.joblib", "holds an XGBoost XGBClassifier"),
        ("wrapper-zlib.joblib", "is a joblib file and holds an XGBoost XGBClassifier"),
        ("wrapper-gzip.joblib", "is a joblib file and holds an XGBoost XGBClassifier"),
        ("wrapper-bz2.joblib", "is a joblib file and holds an XGBoost XGBClassifier"),
        ("wrapper-xz.joblib", "is a joblib file and holds an XGBoost XGBClassifier"),
        (
            "pipeline.joblib",
            "is a joblib file and holds a scikit-learn Pipeline with an XGBoost XGBRegressor",
        ),
        ("search.pkl", "is a pickle file and holds a GridSearchCV of an XGBoost XGBClassifier"),
    ):
        said = refusal(pickles / name)
        assert what in said
        code = re.search(r"run: (import .*)\. Then add model\.ubj\.", said)
        assert code is not None, said
        codes.append(code[1].replace('"model.ubj"', f'"{len(codes)}.ubj"'))
    subprocess.run([sys.executable, "-W", "ignore", "-c", "\n".join(codes)], cwd=tmp_path, check=True)
    assert len(list(tmp_path.glob("*.ubj"))) == len(codes)
    assert {read_source(tmp_path / f"{index}.ubj").inspection.rounds for index in (2, 8, 9)} == {2}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("dict.pkl", "holds an XGBoost XGBClassifier"),
        ("linear.joblib", "is a joblib file that names no XGBoost model. Only models of XGBoost"),
        ("list.pkl", "is a pickle file that names no XGBoost model"),
    ],
)
def test_other_pickles_are_told(pickles: Path, name: str, what: str) -> None:
    assert what in refusal(pickles / name)


def test_a_pickle_that_would_run_code_is_only_read(say: Callable[..., str], tmp_path: Path) -> None:
    told = say(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.", "m.pkl")

    assert "names no XGBoost model" in told
    assert not (tmp_path / "ran").exists()


def archive(kind: str) -> bytes:
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as zipped:
            zipped.writestr("model.ubj", b"{}")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as tarred:
            tarred.addfile(tarfile.TarInfo("model.ubj"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"", "is empty", "Save or copy the model again."),
        (b" \n", "is empty", "Save or copy the model again."),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer", "git lfs pull"),
        (b"tree\nversion=v4\nnum_class=1\n", "is a LightGBM model", "Only models of XGBoost"),
        (gzip.compress(b"tree\nversion=v4\n"), "is a LightGBM model", "Only models of XGBoost"),
        (b'{"name": "tree", "version": "v4", "tree_info": []}', "is a LightGBM model", "Only models of"),
        (b"CBM1\x00\x01", "is a CatBoost model", "Only models of XGBoost"),
        (b'{"features_info": {}, "oblivious_trees": []}', "is a CatBoost model", "Only models of XGBoost"),
        (b"\x08\x08\x12\x0bOnnxMLTools\x1a\x061.11.1", "is an ONNX model", "save_model"),
        (b'<?xml version="1.0"?>\n<PMML version="4.4">', "is PMML", "save_model"),
        (b"\n<!DOCTYPE html><html><body>Log in", "is an HTML page", "Download the model again"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array", "--background"),
        (b"booster[0]:\n0:[f0<0.5]", "is a text dump", 'save_model("model.ubj")'),
        (b'[{"nodeid": 0}]', "is a JSON list, such as a dump of trees", 'save_model("model.ubj")'),
        (b'{"layers": []}', "is JSON, but not a model of XGBoost: it has the keys 'layers'", "save_model"),
        (b"{}", "is JSON, but not a model of XGBoost", "save_model"),
        (b"no model", "is not a model of XGBoost: it begins with b'no model'", "save_model"),
        (archive("zip"), "is a zip archive", "unzip "),
        (archive("tar"), "is a tar archive", "tar -xf "),
        (gzip.compress(b"{}" * 99)[:-9], "is compressed, and truncated or damaged", "copy it again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # an archive's bytes hold the time
)
def test_other_files_are_told_by_their_bytes(
    say: Callable[..., str], content: bytes, what: str, remedy: str
) -> None:
    said = say(content)

    assert what in said
    assert remedy in said


def test_dumps_and_configurations_cannot_be_loaded_again(say: Callable[..., str], booster: Any) -> None:
    assert "is a text dump" in say("".join(booster.get_dump()).encode(), "dump.txt")
    assert "is a Booster's configuration (save_config), which holds no trees" in say(
        booster.save_config().encode(), "config.json"
    )


@pytest.mark.parametrize(("kind", "share"), [("json", 0.5), ("ubj", 0.2), ("ubj", 0.97)])
def test_a_truncated_model_is_told_as_that(
    say: Callable[..., str], raw: dict[str, bytes], kind: str, share: float
) -> None:
    said = say(raw[kind][: int(len(raw[kind]) * share)], f"m.{kind}")

    assert "truncated or damaged" in said
    assert "Save or copy it again." in said


def test_json_that_describes_an_impossible_model_is_one_line(
    say: Callable[..., str], raw: dict[str, bytes]
) -> None:
    document: Any = json.loads(raw["json"])
    document["learner"]["learner_model_param"]["num_feature"] = "-1"
    assert "says that it has 4294967295 features" in say(json.dumps(document).encode(), "m.json")
    document["learner"]["gradient_booster"] = {"name": "gbforest"}
    assert "cannot be used" in say(json.dumps(document).encode(), "m.json")


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(b"{}")

    assert "is a folder. It holds model.ubj. Give the model's file itself." in refusal(tmp_path)
    assert "There is no file" in refusal(tmp_path / "missing.ubj")
