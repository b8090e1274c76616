"""Rows of every kind become exact values, with names and data that shap's plots accept."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import shap

from ops.lab.trial_appliance import Appliance
from shapbox import Explanation, RefusedError, RowsError, Shapbox
from shapbox.data import read_data
from shapbox.rows import known
from tests.support.trained_case import ModelCase

#: Rows that are answered at once, and rows that make a job.
FEW, MANY = 40, 1500


def records(rows: Any) -> list[dict[str, Any]]:
    return list(json.loads(rows.to_json(orient="records")))


def columns(rows: Any) -> dict[str, Any]:
    return {name: [record[name] for record in records(rows)] for name in rows.columns}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv_file(rows: Any, folder: Path) -> Path:
    return written(folder / "rows.csv", "\n  \n" + rows.to_csv(index=False))


def parquet_file(rows: Any, folder: Path) -> Path:
    index = {"__index_level_0__": range(len(rows))}  # as pandas writes it
    pl.DataFrame(columns(rows) | index).write_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def npy_file(rows: Any, folder: Path) -> Path:
    np.save(folder / "rows.npy", codes(rows))
    return folder / "rows.npy"


def codes(rows: Any) -> Any:
    kinds = {name: rows[name].cat.codes.replace(-1, np.nan) for name in ("home", "term")}
    return rows.assign(**kinds).to_numpy(np.float64)


#: Turns a DataFrame with categories into rows of another kind.
KINDS: dict[str, Callable[[Any, Path], Any]] = {
    "pandas": lambda rows, _: rows,
    "pandas, other columns": lambda rows, _: rows[rows.columns[::-1]].rename(columns={"amount": " amount "}),
    "polars": lambda rows, _: pl.DataFrame(columns(rows)),
    "dicts": lambda rows, _: records(rows),
    "columns": lambda rows, _: columns(rows),
    "lists": lambda rows, _: [list(record.values()) for record in records(rows)],
    "array of codes": lambda rows, _: codes(rows),
    "array of objects": lambda rows, _: rows.astype(object).to_numpy(),
    "csv": csv_file,
    "csv.gz": lambda rows, folder: str(
        written(folder / "rows.csv.gz", gzip.compress(rows.to_csv(index=False).encode()))
    ),
    "jsonl": lambda rows, folder: written(folder / "rows.jsonl", rows.to_json(orient="records", lines=True)),
    "parquet": parquet_file,
    "npy": npy_file,
}
#: Kinds whose body is written in parts.
CHUNKED = ("pandas", "polars", "dicts", "array of codes")


@pytest.mark.parametrize("kind", [*KINDS, *(f"{kind} in chunks" for kind in CHUNKED)])
def test_rows_of_every_kind_give_exact_values_and_their_own_data(
    box: Shapbox, case: ModelCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.endswith(" in chunks"):  # as large rows are sent: in parts, and as a job
        monkeypatch.setattr("shapbox.rows._CHUNK_ROWS", 16)
        monkeypatch.setattr("shapbox.flows._INLINE_BYTES", 0)
    rows = case.rows[:FEW]
    found = box.explain(KINDS[kind.removesuffix(" in chunks")](rows, tmp_path), model="credit")
    np.testing.assert_allclose(found.values, case.contributions[:FEW, 0, :-1], atol=2e-5)
    np.testing.assert_allclose(found.margins, case.margins[:FEW, 0], atol=2e-5)
    np.testing.assert_array_equal(found.data, codes(rows))
    assert found.display_data is not None
    shown = pd.Series(found.display_data[:, 0])
    assert shown.dropna().tolist() == rows.home.dropna().tolist()
    assert (found.model, found.method, len(found)) == ("credit@1", "tree_path_dependent", FEW)
    assert (found.job_id is None) != kind.endswith(" in chunks")
    assert found.feature_names == list(rows.columns)


def test_an_explanation_is_not_lost_with_its_rows(box: Shapbox, case: ModelCase, tmp_path: Path) -> None:
    rows = csv_file(case.rows[:FEW], tmp_path)
    job = box.submit(rows, "credit").wait()
    for content in ("a\n1\n", rows.read_text() + rows.read_text().splitlines()[-1], None):
        if content is None:
            rows.unlink()
        else:
            written(rows, content)
        with pytest.warns(UserWarning, match="without its rows"):
            found = job.result()
        assert (found.values.shape, found.data) == ((FEW, 5), None)


def test_shaps_plots_accept_an_explanation(box: Shapbox, case: ModelCase) -> None:
    mpl.use("agg")
    plotted = box.explain(case.rows[:MANY], model="credit", progress=True).to_shap()
    assert isinstance(plotted, shap.Explanation)
    shap.plots.waterfall(plotted[0], show=False)
    axes = plt.gca()
    assert any(f"{case.rows.home[0]} = home" in label.get_text() for label in axes.get_yticklabels())
    plt.close("all")
    shap.plots.beeswarm(plotted, show=False)
    shap.plots.scatter(plotted[:, "home"], show=False)
    plt.close("all")


def test_several_outputs_interactions_and_frames(box: Shapbox, case: ModelCase) -> None:
    examples = box.call("GET", "/v1/models/wine/examples?limit=30", headers={"Accept": "application/json"})
    rows = examples.json()["rows"]
    at_once = box.explain(rows, "wine", interactions=True)
    as_job = box.submit(rows, "wine", interactions=True).result()
    few = box.submit(rows, "wine", interactions=True, top_pairs=2).result()
    for found in (at_once, as_job, few):
        assert found.values.shape == (len(rows), 13, 3)
        np.testing.assert_array_equal(found.values, at_once.values)
    for found in (at_once, as_job):
        assert found.interactions is not None
        np.testing.assert_allclose(found.interactions.sum(axis=2), found.values, atol=1e-5)
    assert few.pairs is not None
    assert len(few.pairs[0][0]) == 2
    assert at_once.to_shap()[0, :, 1].values.shape == (13,)
    for library, frame in (("pandas", as_job.to_frame()), ("polars", as_job.to_frame("polars"))):
        assert type(frame).__module__.partition(".")[0] == library
        assert frame.shape == (3 * len(rows), 16)
        assert list(frame.columns)[::14] == ["output", "base_value"]
        assert list(frame["output"][:3]) == as_job.output_names
        np.testing.assert_allclose(np.asarray(frame["margin"]), as_job.margins.reshape(-1))
        np.testing.assert_array_equal(np.asarray(frame[as_job.feature_names])[1], as_job.values[0, :, 1])
    indexed = case.rows[:3].set_axis(["x", "y", "z"])
    assert list(box.explain(indexed, model="credit").to_frame().index) == ["x", "y", "z"]
    one = np.ones((1, 1), dtype=np.float32)
    taken = Explanation(values=one, base_values=one[:, 0], feature_names=["margin"], output_names=["y"])
    with pytest.raises(ValueError, match="margin"):
        taken.to_frame()


def test_single_rows_and_cells_of_many_types(box: Shapbox, case: ModelCase) -> None:
    cells = {"amount": decimal.Decimal("12.5"), "years": np.int64(3), "home": pd.NA}
    row = {**records(case.rows[:1])[0], **cells}
    found = box.explain(row, model="credit")
    assert found.data is not None
    assert found.data[0, 1:].tolist() == [12.5, *codes(case.rows[:1])[0, 2:3], 3, row["insured"]]
    assert np.isnan(found.data[0, 0])
    for single in (list(row.values()), np.array(codes(case.rows[:1])[0])):
        assert box.explain(single, model="credit").values.shape == (1, 5)
    for masked in (np.ma.masked_invalid([[1.0, np.nan]]), np.ma.array([[1, 2]], mask=[[False, True]])):
        np.testing.assert_array_equal(known(masked), [[1.0, np.nan]])
    assert known(np.ma.array([["a", "b"]], mask=[[False, True]])) == [["a", None]]


def test_a_models_own_markers_and_unknown_codes_are_missing_in_the_data() -> None:
    features = [{"name": "age"}, {"name": "grade", "labels": ["A", "B"]}]
    model = {"contract": {"features": features, "missing": [-999]}}
    found = read_data(np.array([[-999.0, 1.0], [5.0, -1.0]]), model)
    np.testing.assert_array_equal(found["data"][:, 0], [np.nan, 5.0])
    assert found["display_data"][0, 1] == "B"
    assert np.isnan(found["display_data"][1, 1])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        (np.zeros((0, 5)), "no rows"),
        (np.zeros((1, 2, 3)), "two dimensions"),
        ([[np.datetime64("2026-01-01")]], "send numbers"),
        ([[dt.date(2026, 1, 1)]], "send numbers"),
        (np.array([["2026-01-01"]], dtype="datetime64[ns]"), "dates or durations"),
        (np.array([[5]], dtype="timedelta64[ns]"), "dates or durations"),
        ({"a": [1, 2, 3], "b": [1, 2]}, "different numbers"),
        (5, "DataFrame"),
        ("rows.xls", "no known type"),
        ("nowhere.csv", "cannot be read"),
        ("nowhere.parquet", "cannot be read"),
        ("damaged.parquet", "cannot be read as Parquet"),
    ],
)
def test_rows_that_cannot_be_sent_are_told_before_they_are(
    box: Shapbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged.parquet").write_bytes(b"PAR1, and no more")
    with pytest.raises(RowsError, match=said):
        box.explain(rows, model="credit")


@pytest.mark.parametrize("missing", [("polars", "pyarrow", "fastparquet"), ("polars", "pandas")])
def test_parquet_without_its_libraries_says_what_to_install(
    box: Shapbox, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    for library in missing:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RowsError, match=r"pip install 'shapbox\[polars\]'"):
        box.explain("rows.parquet", model="credit")


def test_a_refusal_carries_row_column_and_remedy(box: Shapbox, case: ModelCase) -> None:
    rows = case.rows[:5].assign(home=["own", "rent", "tent", "own", "boat"])
    with pytest.raises(RefusedError) as caught:
        box.explain(rows, model="credit")
    refusal = caught.value
    assert (refusal.status, refusal.code) == (422, "invalid-rows")
    assert [(error.row, error.column) for error in refusal.errors] == [(2, "home"), (4, "home")]
    assert refusal.errors[0].remedy.startswith("the labels are 'mortgage'")
    assert "row 4, column 'home'" in str(refusal)
    with pytest.raises(RefusedError, match="SHAPBOX_API_KEY"):
        Shapbox(box.url, "wrong").models()


def test_values_come_without_shap_pandas_and_polars(appliance: Appliance) -> None:
    program = f"""
import sys
sys.modules |= dict.fromkeys(("shap", "pandas", "polars"))
from shapbox import Shapbox
found = Shapbox({appliance.url!r}, {appliance.api_key!r}).explain([[1.0] * 10], model="diabetes")
assert found.values.shape == (1, 10) and found.data.shape == (1, 10)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_names_and_labels_are_read_from_csv_in_which_they_are_no_formulas(tmp_path: Path) -> None:
    features = [{"name": "=a"}, {"name": "-home", "labels": ["+x", "-5"]}]
    wanted = [[-1.0, 0.0], [2.0, 1.0]]
    for header, label in (("'=a,'-home", "'+x"), ("=a,-home", "+x")):
        path = written(tmp_path / "rows.csv", f"{header}\n-1,{label}\n2,-5\n")
        found = read_data(path, {"contract": {"features": features}})
        np.testing.assert_array_equal(found["data"], wanted)
