from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.models.source import read_source
from shared.errors import ModelFaultError
from tests.unit.ops.models.training import trained

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


def raw(kind: str = "ubj") -> bytes:
    return bytes(trained(["a", "b", "c"]).save_raw(kind))


@pytest.mark.parametrize("name", ["m", "m.model", "m.bin", "m.json", "m.ubj", "m.pkl", "m.txt"])
@pytest.mark.parametrize("kind", ["json", "ubj"])
def test_a_model_is_taken_whatever_its_name_ends_in(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw(kind))

    source = read_source(path)

    assert [feature.name for feature in source.inspection.features] == ["a", "b", "c"]
    assert source.model == raw()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: b" \r\n" + content + b"\n",
        lambda content: json.dumps(json.loads(content), indent=2).encode(),
    ],
)
def test_json_is_taken_with_a_byte_order_mark_and_blanks(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(change(raw("json")))

    assert read_source(path).inspection.rounds == 2


@pytest.mark.parametrize("content", [LEGACY, LEGACY[4:]])
def test_the_old_binary_format_comes_with_the_call_that_saves_it_again(
    say: Callable[..., str], content: bytes
) -> None:
    said = say(content, "m.model")

    assert "is a model in XGBoost's old binary format" in said
    assert 'pip install "xgboost<3.1"' in said
    assert re.search(r'model_file=bytearray\(open\(\'.*m.model\', "rb"\).read\(\)\)', said)
    assert 'b.save_model("model.ubj")' in said


@pytest.mark.parametrize(
    ("name", "what"),
    [
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
    ],
)
def test_a_pickle_is_not_loaded_and_comes_with_code_that_saves_its_model(
    pickles: Path, tmp_path: Path, name: str, what: str
) -> None:
    said = refusal(pickles / name)
    code = re.search(r"run: (import .*)\. Then add model\.ubj\.", said)

    assert what in said
    assert code is not None
    subprocess.run([sys.executable, "-W", "ignore", "-c", code[1]], cwd=tmp_path, check=True)
    assert read_source(tmp_path / "model.ubj").inspection.rounds == 2


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("dict.pkl", "holds an XGBoost XGBClassifier"),
        ("linear.joblib", "holds a sklearn.linear_model._base.LinearRegression. Only models of XGBoost"),
        ("list.pkl", "is a pickle file that names no XGBoost model"),
    ],
)
def test_other_pickles_are_told(pickles: Path, name: str, what: str) -> None:
    assert what in refusal(pickles / name)


def test_a_pickle_that_would_run_code_is_only_read(say: Callable[..., str], tmp_path: Path) -> None:
    told = say(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.", "m.pkl")

    assert "holds a os.system" in told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("pack", "needs"),
    [
        (gzip.compress, "gunzip"),
        (bz2.compress, "bunzip2"),
        (lzma.compress, "unxz"),
        (zlib.compress, "python3"),
    ],
)
@pytest.mark.parametrize("kind", ["json", "ubj"])
def test_a_compressed_model_comes_with_the_command_that_unpacks_it(
    say: Callable[..., str], tmp_path: Path, pack: Callable[[bytes], bytes], needs: str, kind: str
) -> None:
    if shutil.which(needs) is None:
        pytest.skip(f"{needs} is not here")
    command = say(pack(raw(kind)), "my model").partition("Unpack it first: ")[2]

    subprocess.run(command, shell=True, cwd=tmp_path, check=True)

    assert (tmp_path / f"model.{kind}").read_bytes() == raw(kind)


def test_compressed_files_that_hold_no_model_say_what_they_hold(say: Callable[..., str]) -> None:
    assert "compressed by gzip, and what is in it is no model: the content is a LightGBM model" in say(
        gzip.compress(b"tree\nversion=v4\n")
    )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("model.ubj"))
    assert "Unpack it first: tar -xf " in say(packed.getvalue(), "m.tar.gz")


def test_archives_say_what_they_hold(say: Callable[..., str]) -> None:
    packed, arrays = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.ubj", raw())
    np.savez(arrays, rows=np.zeros(3))

    assert "is a zip archive of model.ubj. Unpack it first: unzip " in say(packed.getvalue(), "m.zip")
    assert "is an .npz file of NumPy arrays, not a model" in say(arrays.getvalue(), "m.npz")


def test_text_in_utf16_comes_with_the_command_that_converts_it(
    say: Callable[..., str], tmp_path: Path
) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        command = say(raw("json").decode().encode(encoding), "m.json").partition("Convert it: ")[2]
        subprocess.run(command, shell=True, cwd=tmp_path, check=True)
        assert read_source(tmp_path / "model.json").inspection.rounds == 2


def dump(kind: str) -> bytes:
    return "".join(trained().get_dump(dump_format=kind)).encode()


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"", "is empty", "Save or copy the model again."),
        (b" \n", "is empty", "Save or copy the model again."),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "is a Git LFS pointer",
            "git lfs pull",
        ),
        (b"tree\nversion=v4\nnum_class=1\n", "is a LightGBM model", "Only models of XGBoost"),
        (b'{"name": "tree", "version": "v4", "tree_info": []}', "is a LightGBM model", "Only models of"),
        (b"CBM1\x00\x01", "is a CatBoost model", "Only models of XGBoost"),
        (b'{"features_info": {}, "oblivious_trees": []}', "is a CatBoost model", "Only models of XGBoost"),
        (b"\x08\x08\x12\x0bOnnxMLTools\x1a\x061.11.1", "is an ONNX model", "save_model"),
        (b'<?xml version="1.0"?>\n<PMML version="4.4">', "is PMML", "save_model"),
        (b"\n<!DOCTYPE html><html><body>Log in", "is an HTML page", "Download the model again"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array", "--background"),
        (b"booster[0]:\n0:[f0<0.5]", "is a text dump", 'save_model("model.ubj")'),
        (b'{"layers": []}', "is JSON, but not a model of XGBoost: it has the keys 'layers'", "save_model"),
        (b"{}", "is JSON, but not a model of XGBoost", "save_model"),
        (b"no model", "is not a model of XGBoost: it begins with b'no model'", "save_model"),
    ],
)
def test_other_files_are_told_by_their_bytes(
    say: Callable[..., str], content: bytes, what: str, remedy: str
) -> None:
    said = say(content)

    assert what in said
    assert remedy in said


def test_dumps_and_configurations_cannot_be_loaded_again(say: Callable[..., str]) -> None:
    booster = trained()

    assert "is a text dump" in say(dump("text"), "dump.txt")
    assert "is a JSON list, such as a dump of trees" in say(
        b"[" + ",".join(booster.get_dump(dump_format="json")).encode() + b"]", "dump.json"
    )
    assert "is a Booster's configuration (save_config), which holds no trees" in say(
        booster.save_config().encode(), "config.json"
    )


@pytest.mark.parametrize("kind", ["json", "ubj"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
def test_a_truncated_model_is_told_as_that(say: Callable[..., str], kind: str, share: float) -> None:
    content = raw(kind)

    said = say(content[: int(len(content) * share)], f"m.{kind}")

    assert "truncated or damaged" in said
    assert "Save or copy it again." in said


def test_json_that_describes_an_impossible_model_is_one_line(say: Callable[..., str]) -> None:
    document: Any = json.loads(raw("json"))
    document["learner"]["learner_model_param"]["num_feature"] = "-1"
    assert "says that it has 4294967295 features" in say(json.dumps(document).encode(), "m.json")
    document["learner"]["gradient_booster"] = {"name": "gbforest"}
    assert "cannot be used" in say(json.dumps(document).encode(), "m.json")


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(raw())

    assert "is a folder. It holds model.ubj. Give the model's file itself." in refusal(tmp_path)
    assert "There is no file" in refusal(tmp_path / "missing.ubj")
