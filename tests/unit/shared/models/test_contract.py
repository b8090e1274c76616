from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelFaultError
from shared.models.contract import (
    Adverse,
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
NEEDED: dict[str, Any] = json.loads(
    """{
  "format": 2, "name": "wine", "version": 2, "sha256": "SHA",
  "features": [
    {"name": "alcohol", "kind": "number"},
    {"name": "organic", "kind": "boolean"},
    {"name": "säure", "kind": "category", "labels": ["low", "high"]},
    {"name": "region", "kind": "category", "labels": [10, 20, -3]},
    {"name": "cellar", "kind": "category", "labels": []}
  ],
  "outputs": ["margin"], "objective": "binary:logistic", "library": "xgboost", "library_version": "3.4.1",
  "link": "sigmoid", "missing": [-999, 0.5], "trees": {"used": 7, "total": 19, "reason": "best_iteration"},
  "precision": "float32", "training": {"rows": 5, "params": {"eta": 0.1}}
}""".replace("SHA", "a" * 64)
)
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
    "expected": {"rows": {**ENTRY, "file": "rows.npy"}, "margins": {**ENTRY, "file": "margins.npy"}},
    "fallback": False,
}
#: A manifest of format 1, which has no number.
OLD: dict[str, Any] = json.loads(
    """{
  "name": "wine", "version": 2, "sha256": "SHA", "size": 123, "features": ["alcohol", "säure"],
  "outputs": ["a", "b", "c"], "objective": "multi:softprob", "xgboost_version": "3.0.5", "training": {},
  "examples": null, "fallback": false
}""".replace("SHA", "a" * 64)
) | {"background": ENTRY}


def text_of(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_a_manifest_is_read_with_the_right_types() -> None:
    contract = read_contract(text_of(WHOLE), SOURCE)
    assert contract.features[1:3] == (
        Feature("organic", Kind.BOOLEAN),
        Feature("säure", Kind.CATEGORY, ("low", "high")),
    )
    assert (contract.link, contract.adverse) == (Link.SIGMOID, Adverse.HIGH)
    assert contract.trees == Trees(7, 19, TreesReason.BEST_ITERATION)
    assert contract.reasons["alcohol"] == Reason("R2", "Strength")
    assert contract.expected is not None
    assert contract.expected.margins == FileEntry("margins.npy", "b" * 64, 3)
    assert contract.id == "wine@2"
    assert contract.feature_names == ("alcohol", "organic", "säure", "region", "cellar")
    assert hash(contract) == hash(read_contract(text_of(WHOLE), SOURCE))


def test_a_manifest_survives_being_written_and_read() -> None:
    for document in (WHOLE, NEEDED, {**WHOLE, "fallback": True, "adverse": None}):
        contract = read_contract(text_of(document), SOURCE)
        assert read_contract(contract.to_json()) == contract
    written = json.loads(read_contract(text_of(WHOLE), SOURCE).to_json())
    with pytest.raises(ModelFaultError, match="checksum"):
        read_contract(text_of({**written, "missing": [-998]}), SOURCE)
    assert len(written.pop("checksum")) == 64
    assert written == WHOLE
    bare = read_contract(text_of(NEEDED), SOURCE)
    optional = (bare.size, bare.background, bare.examples, bare.expected, bare.adverse)
    assert optional == (None,) * 5
    assert (bare.groups, bare.reasons, bare.never_reasons, bare.fallback) == ({}, {}, (), False)


def test_odd_names_and_labels_are_kept_as_they_are() -> None:
    for name in (
        "net\u00a0income",
        "tab\there",
        " padded ",
        "new\nline",
        "a,b;c",
        '"quoted"',
        "\u2028",
        "😀",
        "0",
    ):
        features = [{"name": name, "kind": "category", "labels": [name, name + " "]}]
        contract = read_contract(text_of({**NEEDED, "features": features, "never_reasons": [name]}), SOURCE)
        again = read_contract(contract.to_json(), SOURCE)
        assert again.features == (Feature(name, Kind.CATEGORY, (name, name + " ")),)
        assert again.never_reasons == (name,)


def test_a_manifest_of_format_1_is_upgraded_and_written_as_format_2() -> None:
    contract = read_contract(text_of(OLD), SOURCE)
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


def test_the_objective_says_how_a_margin_becomes_a_prediction() -> None:
    for objective, link in {
        "reg:squarederror": "identity",
        "binary:logistic": "sigmoid",
        "binary:logitraw": "identity",
        "multi:softprob": "softmax",
        "multi:softmax": "argmax",
        "count:poisson": "exp",
        "binary:hinge": "step",
        "rank:ndcg": "identity",
    }.items():
        assert link_of(objective) == read_contract(text_of({**OLD, "objective": objective})).link == link


#: Manifests that are refused as they stand, and the fault.
BROKEN: list[tuple[bytes, str]] = [
    (b"", "it is empty"),
    (text_of(WHOLE)[:40], "it is not JSON"),
    (b"\xff\xfe\x00", "it is not JSON"),
    (b"[" * 100_000, "it is not JSON"),
    (b"[]", "it is not a JSON object"),
    (b"{}", "it lacks name, version"),
    *(
        (text_of({name: value for name, value in WHOLE.items() if name != key}), f"it lacks {key}")
        for key in NEEDED
        if key != "format"
    ),
    *(
        (text_of({**OLD, **changes}), fault)
        for changes, fault in (
            ({"format": 2}, "it lacks library, library_version"),
            ({"features": WHOLE["features"]}, "'features' must hold texts that are not empty"),
            ({"features": ["a", "a"]}, "'features' names something twice"),
            ({"trees": None}, "unknown keys (trees)"),
        )
    ),
]
#: Features that are refused, and the fault.
WRONG_FEATURES: list[tuple[Any, str]] = [
    ("alcohol", "each of 'features' must be an object"),
    ({"name": "a"}, "each of 'features' must be an object"),
    ({"name": "a", "kind": "number", "unit": "m"}, "each of 'features' must be an object"),
    ({"name": "", "kind": "number"}, "a feature's name must be a text"),
    ({"name": "\ud800", "kind": "number"}, "it is not JSON"),
    ({"name": "a", "kind": "c"}, "the kind of 'a' must be one of number, boolean, category, and is 'c'"),
    ({"name": "a", "kind": "number", "labels": ["x"]}, "'a' has labels and is no category"),
    *(
        (
            {"name": "a", "kind": "category", "labels": labels},
            "the labels of 'a' must be all texts or all whole",
        )
        for labels in ("xy", ["x", 1], [True], [2**70])
    ),
    ({"name": "a", "kind": "category", "labels": ["x", "x"]}, "'a' has a label twice"),
]
#: Members and values that are refused, and the fault.
WRONG_MEMBERS: list[tuple[str, Any, str]] = [
    ("format", 3, "its format is 3, and this version of Shapbox reads 1 to 2"),
    ("format", True, "its format is True"),
    ("backgroud", None, "unknown keys (backgroud)"),
    ("xgboost_version", "3", "unknown keys (xgboost_version)"),
    ("name", "../etc", "'name' must be a name"),
    ("name", 7, "'name' must be a text"),
    ("version", True, "'version' must be a whole number"),
    ("version", 0, "'version' must be a whole number"),
    ("sha256", "A" * 64, "'sha256' must be a SHA-256"),
    ("features", [], "'features' must be a list"),
    ("features", WHOLE["features"] + WHOLE["features"][:1], "'features' names something twice"),
    ("outputs", [1], "'outputs' must hold texts that are not empty"),
    ("objective", "", "'objective' must be a text"),
    ("library", "lightgbm", "'library' must be xgboost, and is 'lightgbm'"),
    ("link", "logit", "'link' must be one of identity, sigmoid, softmax, argmax, exp, step, and is 'logit'"),
    *(("missing", wrong, "'missing' must be a list of finite numbers") for wrong in (["-999"], [True])),
    ("missing", [float("nan")], "it is not JSON"),
    ("training", {"score": float("inf")}, "it is not JSON"),
    ("training", [1], "'training' must be an object"),
    ("trees", 7, "'trees' must be an object of used, total and reason"),
    ("trees", {"used": 1, "total": 1, "reason": "best"}, "'trees.reason' must be one of all, best_iteration"),
    ("trees", {"used": -1, "total": 1, "reason": "all"}, "'used' must be a whole number from 0"),
    ("trees", {"used": 2, "total": 1, "reason": "all"}, "'trees' says that 2 of 1 are used"),
    ("trees", {"used": 0, "total": 1, "reason": "all"}, "'trees' says that 0 of 1 are used"),
    ("fallback", "yes", "'fallback' must be true or false"),
    ("groups", {"place": "region"}, "'groups.place' must be a list of names"),
    ("groups", {"place": ["postcode"]}, "the group 'place' names 'postcode', which is no feature"),
    ("groups", {"region": ["region"]}, "the group 'region' is called as a feature is"),
    ("reasons", {"alcohol": {"code": "R1"}}, "'reasons.alcohol' must be an object of code and text"),
    ("reasons", {"alcohol": {"code": "R1", "text": ""}}, "'reasons.alcohol' must hold texts"),
    ("reasons", {"price": {"code": "R1", "text": "x"}}, "'price', which is neither a feature nor a group"),
    ("never_reasons", ["price"], "'price', which is neither a feature nor a group"),
    ("adverse", "up", "'adverse' must be one of high, low, and is 'up'"),
    ("background", {"file": "x.npy", "sha256": "b" * 64}, "'background' must be null or an object"),
    ("examples", {**ENTRY, "file": "../../etc/passwd"}, "'examples.file' must be the name of a file"),
    ("examples", {**ENTRY, "sha256": "no"}, "'examples.sha256' must be"),
    ("examples", {**ENTRY, "rows": 0}, "'rows' must be a whole number"),
    ("expected", {"rows": ENTRY}, "'expected' must be null or an object of rows and margins"),
    ("expected", {"rows": ENTRY, "margins": {**ENTRY, "rows": 2}}, "must hold as many margins as rows"),
    ("expected", {"rows": ENTRY, "margins": "x.npy"}, "'expected.margins' must be null or an object"),
]


def test_a_wrong_manifest_is_refused_with_file_fault_and_remedy() -> None:
    refused = [*BROKEN]
    refused += [(text_of({**NEEDED, "features": [one]}), fault) for one, fault in WRONG_FEATURES]
    refused += [(text_of({**WHOLE, member: value}), fault) for member, value, fault in WRONG_MEMBERS]
    for text, fault in refused:
        with pytest.raises(ModelFaultError) as caught:
            read_contract(text, SOURCE)
        message = str(caught.value)
        assert message.startswith(f"{SOURCE} cannot be used: ")
        assert fault in message
        assert "Restore models/wine/2 from version control" in message
        assert "`python -m ops.models add wine FILE --version 2`" in message


def test_names_and_versions_make_a_model_folder() -> None:
    for folder in ("wine/1", "a.b_c-9/999999999"):
        assert is_model_folder(Path("models") / folder)
    for folder in ("wine/01", "wine/0", "wine/v1", "Wine/1", ".wine/1", "wine\n/1", "w" * 65 + "/1"):
        assert not is_model_folder(Path("models") / folder)
