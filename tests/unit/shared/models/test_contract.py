from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelFaultError
from shared.models.contract import Contract, FileEntry, is_model_folder

SOURCE = Path("models/wine/2/manifest.json")

WHOLE: dict[str, Any] = {
    "name": "wine",
    "version": 2,
    "sha256": "a" * 64,
    "size": 123,
    "features": ["alcohol", "säure"],
    "outputs": ["margin"],
    "objective": "reg:squarederror",
    "xgboost_version": "3.4.1",
    "training": {"rows": 5, "params": {"eta": 0.1}},
    "background": {"file": "background.npy", "sha256": "b" * 64, "rows": 3},
    "examples": None,
    "fallback": False,
}


def text_with(**changes: Any) -> bytes:
    return json.dumps({**WHOLE, **changes}).encode()


def test_a_manifest_is_read_with_the_right_types() -> None:
    manifest = Contract.from_json(text_with(), SOURCE)

    assert manifest.id == "wine@2"
    assert manifest.features == ("alcohol", "säure")
    assert manifest.background == FileEntry("background.npy", "b" * 64, 3)
    assert manifest.examples is None
    assert hash(manifest) == hash(Contract.from_json(text_with(), SOURCE))


def test_a_manifest_survives_being_written_and_read() -> None:
    manifest = Contract.from_json(text_with(fallback=True), SOURCE)

    assert Contract.from_json(manifest.to_json()) == manifest
    assert Contract.from_json(manifest.to_json()).to_json() == manifest.to_json()


def test_keys_that_may_be_left_out_may_be_left_out() -> None:
    document = {key: WHOLE[key] for key in WHOLE if key not in {"size", "background", "examples", "fallback"}}

    manifest = Contract.from_json(json.dumps(document).encode(), SOURCE)

    assert (manifest.size, manifest.background, manifest.examples, manifest.fallback) == (
        None,
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "it is empty"),
        (b"  \n", "it is empty"),
        (text_with()[:40], "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "it lacks name, version"),
        (text_with(backgroud=None), "unknown keys (backgroud)"),
        (text_with(name="../etc"), "'name' must be a name"),
        (text_with(name="a/b"), "'name' must be a name"),
        (text_with(name="Wine"), "'name' must be a name"),
        (text_with(name=7), "'name' must be a text"),
        (text_with(version="2"), "'version' must be a whole number"),
        (text_with(version=True), "'version' must be a whole number"),
        (text_with(version=0), "'version' must be a whole number"),
        (text_with(size=-1), "'size' must be a whole number"),
        (text_with(sha256="A" * 64), "'sha256' must be a SHA-256"),
        (text_with(features=[]), "'features' must be a list"),
        (text_with(features="abc"), "'features' must be a list"),
        (text_with(features=["a", "a"]), "'features' names something twice"),
        (text_with(features=["a", "b\n"]), "'features' must hold printable texts"),
        (text_with(outputs=[1]), "'outputs' must hold printable texts"),
        (text_with(objective=""), "'objective' must be a text"),
        (text_with(training=[]), "'training' must be an object"),
        (text_with(fallback="yes"), "'fallback' must be true or false"),
        (text_with(background="background.npy"), "'background' must be null or an object"),
        (
            text_with(background={"file": "x.npy", "sha256": "b" * 64}),
            "'background' must be null or an object",
        ),
        (
            text_with(examples={"file": "../../etc/passwd", "sha256": "b" * 64, "rows": 1}),
            "'examples.file' must be the name of a file in the same folder",
        ),
        (text_with(examples={"file": "x.npy", "sha256": "no", "rows": 1}), "'examples.sha256' must be"),
        (
            text_with(examples={"file": "x.npy", "sha256": "b" * 64, "rows": 1.5}),
            "'rows' must be a whole number",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_with_file_fault_and_remedy(text: bytes, what: str) -> None:
    with pytest.raises(ModelFaultError) as refused:
        Contract.from_json(text, SOURCE)

    message = str(refused.value)
    assert message.startswith(f"{SOURCE} cannot be used: ")
    assert what in message
    assert "Restore models/wine/2 from version control" in message
    assert "`python -m ops.models add wine FILE --version 2`" in message


@pytest.mark.parametrize("folder", ["wine/1", "a.b_c-9/999999999"])
def test_names_and_versions_make_a_model_folder(folder: str) -> None:
    assert is_model_folder(Path("models") / folder)


@pytest.mark.parametrize(
    "folder", ["wine/01", "wine/0", "wine/v1", "Wine/1", ".wine/1", "wine\n/1", "w" * 65 + "/1"]
)
def test_other_names_make_none(folder: str) -> None:
    assert not is_model_folder(Path("models") / folder)
