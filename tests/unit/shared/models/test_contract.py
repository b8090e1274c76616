from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelFaultError
from shared.models.contract import (
    Adverse,
    Contract,
    Expected,
    Feature,
    FileEntry,
    Kind,
    Link,
    Reason,
    Trees,
    TreesReason,
    is_model_folder,
    link_of,
)
from shared.models.manifest_reader import read_contract

SOURCE = Path("models/wine/2/manifest.json")
ENTRY = {"file": "background.npy", "sha256": "b" * 64, "rows": 3}

#: The members that a manifest of format 2 must have.
NEEDED: dict[str, Any] = {
    "format": 2,
    "name": "wine",
    "version": 2,
    "sha256": "a" * 64,
    "features": [
        {"name": "alcohol", "kind": "number"},
        {"name": "organic", "kind": "boolean"},
        {"name": "säure", "kind": "category", "labels": ["low", "high"]},
        {"name": "region", "kind": "category", "labels": [10, 20, -3]},
        {"name": "cellar", "kind": "category", "labels": []},
    ],
    "outputs": ["margin"],
    "objective": "binary:logistic",
    "library": "xgboost",
    "library_version": "3.4.1",
    "link": "sigmoid",
    "missing": [-999, 0.5],
    "trees": {"used": 7, "total": 19, "reason": "best_iteration"},
    "precision": "float32",
    "training": {"rows": 5, "params": {"eta": 0.1}},
}
WHOLE: dict[str, Any] = {
    **NEEDED,
    "size": 123,
    "groups": {"place": ["region", "cellar"]},
    "reasons": {
        "place": {"code": "R1", "text": "Where it grew"},
        "alcohol": {"code": "R2", "text": "Strength"},
    },
    "never_reasons": ["säure"],
    "adverse": "high",
    "background": ENTRY,
    "examples": None,
    "expected": {
        "rows": {**ENTRY, "file": "expected-rows.npy"},
        "margins": {**ENTRY, "file": "expected-margins.npy"},
    },
    "fallback": False,
}
#: A manifest of format 1, which has no number.
OLD: dict[str, Any] = {
    "name": "wine",
    "version": 2,
    "sha256": "a" * 64,
    "size": 123,
    "features": ["alcohol", "säure"],
    "outputs": ["a", "b", "c"],
    "objective": "multi:softprob",
    "xgboost_version": "3.0.5",
    "training": {},
    "background": ENTRY,
    "examples": None,
    "fallback": False,
}


def text_with(**changes: Any) -> bytes:
    return json.dumps({**WHOLE, **changes}).encode()


def text_without(key: str) -> bytes:
    return json.dumps({name: value for name, value in WHOLE.items() if name != key}).encode()


def old_with(**changes: Any) -> bytes:
    return json.dumps({**OLD, **changes}).encode()


def one_feature(**members: Any) -> bytes:
    return json.dumps({**NEEDED, "features": [members]}).encode()


def test_a_manifest_is_read_with_the_right_types() -> None:
    contract = read_contract(text_with(), SOURCE)

    assert contract == Contract(
        name="wine",
        version=2,
        sha256="a" * 64,
        features=(
            Feature("alcohol"),
            Feature("organic", Kind.BOOLEAN),
            Feature("säure", Kind.CATEGORY, ("low", "high")),
            Feature("region", Kind.CATEGORY, (10, 20, -3)),
            Feature("cellar", Kind.CATEGORY),
        ),
        outputs=("margin",),
        objective="binary:logistic",
        library_version="3.4.1",
        training={"rows": 5, "params": {"eta": 0.1}},
        link=Link.SIGMOID,
        missing=(-999.0, 0.5),
        trees=Trees(7, 19, TreesReason.BEST_ITERATION),
        groups={"place": ("region", "cellar")},
        reasons={"place": Reason("R1", "Where it grew"), "alcohol": Reason("R2", "Strength")},
        never_reasons=("säure",),
        adverse=Adverse.HIGH,
        background=FileEntry("background.npy", "b" * 64, 3),
        expected=Expected(
            FileEntry("expected-rows.npy", "b" * 64, 3), FileEntry("expected-margins.npy", "b" * 64, 3)
        ),
        size=123,
    )
    assert contract.id == "wine@2"
    assert contract.feature_names == ("alcohol", "organic", "säure", "region", "cellar")
    assert hash(contract) == hash(read_contract(text_with(), SOURCE))


@pytest.mark.parametrize(
    "text", [text_with(fallback=True), json.dumps(NEEDED).encode(), text_with(adverse=None)]
)
def test_a_manifest_survives_being_written_and_read(text: bytes) -> None:
    contract = read_contract(text, SOURCE)

    assert read_contract(contract.to_json()) == contract
    assert read_contract(contract.to_json()).to_json() == contract.to_json()
    assert json.loads(read_contract(text_with(), SOURCE).to_json()) == WHOLE


def test_keys_that_may_be_left_out_may_be_left_out() -> None:
    contract = read_contract(json.dumps(NEEDED).encode(), SOURCE)

    optional = (contract.size, contract.background, contract.examples, contract.expected, contract.adverse)
    assert optional == (None,) * 5
    assert (contract.groups, contract.reasons, contract.never_reasons) == ({}, {}, ())
    assert contract.fallback is False


@pytest.mark.parametrize(
    "name",
    ["net\u00a0income", "tab\there", " padded ", "new\nline", "a,b;c", '"quoted"', "\u2028", "😀", "0"],
)
def test_odd_names_and_labels_are_kept_as_they_are(name: str) -> None:
    features = [{"name": name, "kind": "category", "labels": [name, name + " "]}]
    contract = read_contract(
        text_with(features=features, groups={}, reasons={}, never_reasons=[name]), SOURCE
    )

    again = read_contract(contract.to_json(), SOURCE)
    assert again.features == (Feature(name, Kind.CATEGORY, (name, name + " ")),)
    assert again.never_reasons == (name,)


def test_a_manifest_of_format_1_is_upgraded_and_written_as_format_2() -> None:
    contract = read_contract(old_with(), SOURCE)

    assert contract.format == 1
    assert contract.features == (Feature("alcohol", Kind.NUMBER), Feature("säure", Kind.NUMBER))
    assert (contract.library, contract.library_version) == ("xgboost", "3.0.5")
    assert contract.link is Link.SOFTMAX
    assert contract.trees is None  # activation reads it from the model
    assert (contract.missing, contract.precision) == ((), "float32")
    assert contract.background == FileEntry("background.npy", "b" * 64, 3)
    completed = dataclasses.replace(contract, trees=Trees(3, 3))
    written = json.loads(completed.to_json())
    assert written["format"] == 2
    assert "xgboost_version" not in written
    assert read_contract(completed.to_json()) == dataclasses.replace(completed, format=2)


@pytest.mark.parametrize(
    ("objective", "link"),
    [
        ("reg:squarederror", "identity"),
        ("binary:logistic", "sigmoid"),
        ("binary:logitraw", "identity"),
        ("multi:softprob", "softmax"),
        ("multi:softmax", "argmax"),
        ("count:poisson", "exp"),
        ("binary:hinge", "step"),
        ("rank:ndcg", "identity"),
    ],
)
def test_the_objective_says_how_a_margin_becomes_a_prediction(objective: str, link: str) -> None:
    assert link_of(objective) == link
    assert read_contract(old_with(objective=objective)).link == link


_REFUSED: list[tuple[bytes, str]] = [
    (b"", "it is empty"),
    (text_with()[:40], "it is not JSON"),
    (b"\xff\xfe\x00", "it is not JSON"),
    (b"[" * 100_000, "it is not JSON"),
    (b"[]", "it is not a JSON object"),
    (b"{}", "it lacks name, version"),
    (text_with(format=3), "its format is 3, and this version of Shapbox reads 1 to 2"),
    (text_with(format="2"), "its format is '2'"),
    (text_with(format=True), "its format is True"),
    *((text_without(key), f"it lacks {key}") for key in NEEDED if key != "format"),
    (text_without("format"), "it lacks xgboost_version"),
    (text_with(backgroud=None), "unknown keys (backgroud)"),
    (text_with(xgboost_version="3"), "unknown keys (xgboost_version)"),
    (text_with(name="../etc"), "'name' must be a name"),
    (text_with(name="Wine"), "'name' must be a name"),
    (text_with(name=7), "'name' must be a text"),
    (text_with(version=True), "'version' must be a whole number"),
    (text_with(version=0), "'version' must be a whole number"),
    (text_with(sha256="A" * 64), "'sha256' must be a SHA-256"),
    (text_with(features=[]), "'features' must be a list"),
    (text_with(features=["alcohol"]), "each of 'features' must be an object"),
    (one_feature(name="a"), "each of 'features' must be an object"),
    (one_feature(name="a", kind="number", unit="m"), "each of 'features' must be an object"),
    (one_feature(name="", kind="number"), "a feature's name must be a text"),
    (one_feature(name="a", kind="c"), "the kind of 'a' must be one of number, boolean, category, and is 'c'"),
    (one_feature(name="a", kind="number", labels=["x"]), "'a' has labels and is no category"),
    (one_feature(name="a", kind="category", labels="xy"), "the labels of 'a' must be all texts or all whole"),
    (one_feature(name="a", kind="category", labels=["x", 1]), "the labels of 'a' must be all texts or"),
    (one_feature(name="a", kind="category", labels=[True]), "the labels of 'a' must be all texts or"),
    (one_feature(name="a", kind="category", labels=["x", "x"]), "'a' has a label twice"),
    (text_with(features=WHOLE["features"] + WHOLE["features"][:1]), "'features' names something twice"),
    (text_with(outputs=[1]), "'outputs' must hold texts that are not empty"),
    (text_with(outputs=["a", "a"]), "'outputs' names something twice"),
    (text_with(objective=""), "'objective' must be a text"),
    (text_with(library="lightgbm"), "'library' must be xgboost, and is 'lightgbm'"),
    (text_with(library_version=3), "'library_version' must be a text"),
    (text_with(precision=""), "'precision' must be a text"),
    (
        text_with(link="logit"),
        "'link' must be one of identity, sigmoid, softmax, argmax, exp, step, and is 'logit'",
    ),
    (text_with(missing=["-999"]), "'missing' must be a list of finite numbers"),
    (text_with(missing=[True]), "'missing' must be a list of finite numbers"),
    (text_with(missing=[float("nan")]), "it is not JSON"),
    (text_with(training={"score": float("inf")}), "it is not JSON"),
    (one_feature(name="\ud800", kind="number"), "it is not JSON"),
    (one_feature(name="a", kind="category", labels=[2**70]), "the labels of 'a' must be all texts or"),
    (text_with(trees=7), "'trees' must be an object of used, total and reason"),
    (
        text_with(trees={"used": 1, "total": 1, "reason": "best"}),
        "'trees.reason' must be one of all, best_iteration",
    ),
    (text_with(trees={"used": -1, "total": 1, "reason": "all"}), "'used' must be a whole number from 0"),
    (text_with(trees={"used": 2, "total": 1, "reason": "all"}), "'trees' says that 2 of 1 are used"),
    (text_with(trees={"used": 0, "total": 1, "reason": "all"}), "'trees' says that 0 of 1 are used"),
    (text_with(training=[1]), "'training' must be an object"),
    (text_with(fallback="yes"), "'fallback' must be true or false"),
    (text_with(groups=["a"]), "'groups' must be an object"),
    (text_with(groups={"place": "region"}), "'groups.place' must be a list of names"),
    (text_with(groups={"place": ["postcode"]}), "the group 'place' names 'postcode', which is no feature"),
    (text_with(groups={"region": ["region"]}), "the group 'region' is called as a feature is"),
    (text_with(reasons=["R1"]), "'reasons' must be an object"),
    (text_with(reasons={"alcohol": {"code": "R1"}}), "'reasons.alcohol' must be an object of code and text"),
    (text_with(reasons={"alcohol": {"code": "R1", "text": ""}}), "'reasons.alcohol' must hold texts"),
    (
        text_with(reasons={"price": {"code": "R1", "text": "x"}}),
        "'price', which is neither a feature nor a group",
    ),
    (text_with(never_reasons=["price"]), "'price', which is neither a feature nor a group"),
    (text_with(never_reasons="price"), "'never_reasons' must be a list of names"),
    (text_with(never_reasons=["säure", "säure"]), "'never_reasons' names something twice"),
    (text_with(adverse="up"), "'adverse' must be one of high, low, and is 'up'"),
    (text_with(background="background.npy"), "'background' must be null or an object"),
    (text_with(background={"file": "x.npy", "sha256": "b" * 64}), "'background' must be null or an object"),
    (text_with(examples={**ENTRY, "file": "../../etc/passwd"}), "'examples.file' must be the name of a file"),
    (text_with(examples={**ENTRY, "sha256": "no"}), "'examples.sha256' must be"),
    (text_with(examples={**ENTRY, "rows": 0}), "'rows' must be a whole number"),
    (text_with(expected={"rows": ENTRY}), "'expected' must be null or an object of rows and margins"),
    (
        text_with(expected={"rows": ENTRY, "margins": {**ENTRY, "rows": 2}}),
        "must hold as many margins as rows",
    ),
    (text_with(expected={"rows": ENTRY, "margins": "x.npy"}), "'expected.margins' must be null or an object"),
    (old_with(format=2), "it lacks library, library_version"),
    (old_with(features=WHOLE["features"]), "'features' must hold texts that are not empty"),
    (old_with(features=["a", "a"]), "'features' names something twice"),
    (old_with(trees=None), "unknown keys (trees)"),
]


@pytest.mark.parametrize(("text", "what"), _REFUSED)
def test_a_wrong_manifest_is_refused_with_file_fault_and_remedy(text: bytes, what: str) -> None:
    with pytest.raises(ModelFaultError) as refused:
        read_contract(text, SOURCE)

    message = str(refused.value)
    assert message.startswith(f"{SOURCE} cannot be used: ")
    assert what in message
    assert "Restore models/wine/2 from version control" in message
    assert "`python -m ops.models add wine FILE --version 2`" in message


@pytest.mark.parametrize(
    ("folder", "right"),
    [
        *((folder, True) for folder in ("wine/1", "a.b_c-9/999999999")),
        *((folder, False) for folder in ("wine/01", "wine/0", "wine/v1", "Wine/1", ".wine/1", "wine\n/1")),
        ("w" * 65 + "/1", False),
    ],
)
def test_names_and_versions_make_a_model_folder(folder: str, *, right: bool) -> None:
    assert is_model_folder(Path("models") / folder) == right
