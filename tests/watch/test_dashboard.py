"""The dashboard as Grafana reads it: layout, units, texts and datasource."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from tests.support.shipped import annotation_expressions, dashboard, panel_expressions

BOARD = dashboard()
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
#: Columns of Grafana's grid.
COLUMNS = 24
#: The questions, in the order in which they are asked.
QUESTIONS = ["Is it healthy?", "Is it near its memory limit?", "Is it keeping up?", "What is slow?"]


def test_rows_ask_the_questions_in_order() -> None:
    rows = [panel for panel in BOARD["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == QUESTIONS
    places = [row["gridPos"]["y"] for row in rows]
    assert places == sorted(places)
    assert not any(row["panels"] for row in rows), "a collapsed row hides its panels from these tests"


def test_panels_are_unique_inside_the_grid_and_do_not_overlap() -> None:
    for member in ("id", "title"):
        assert len({panel[member] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    boxes = [panel["gridPos"] for panel in BOARD["panels"]]
    for box in boxes:
        assert 0 <= box["x"] < box["x"] + box["w"] <= COLUMNS
    for a, b in combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


def test_panels_say_what_they_show_in_which_unit() -> None:
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert 0 < len(references) == len(set(references))
    needed = {one["id"] for one in BOARD["__requires"] if one["type"] == "panel"}
    assert needed == {panel["type"] for panel in PANELS}


def test_everything_asks_the_datasource_that_is_chosen_at_import() -> None:
    [given] = BOARD["__inputs"]
    assert given["pluginId"] == "prometheus"
    chosen = {"type": "prometheus", "uid": f"${{{given['name']}}}"}
    asking = [*PANELS, *BOARD["annotations"]["list"], *BOARD["templating"]["list"]]
    asking += [target for panel in PANELS for target in panel["targets"]]
    assert [one["datasource"] for one in asking] == [chosen] * len(asking)


def test_every_query_keeps_to_what_is_chosen_above() -> None:
    for expression in (*panel_expressions(), *annotation_expressions()):
        selectors = expression.text.count("{")
        assert selectors == expression.text.count('{job="$job"'), expression
        everywhere = expression.text.count('instance=~"$instance"')
        assert everywhere == (0 if "ALERTS" in expression.text else selectors), expression


def test_bytes_are_compared_with_exported_limits_and_not_with_numbers() -> None:
    for panel in PANELS:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] != "bytes" or "thresholds" not in defaults, panel["title"]
    asked = " ".join(expression.text for expression in panel_expressions())
    assert "shapbox_memory_limit_bytes" in asked
    assert "shapbox_memory_container_limit_bytes" in asked


def test_recycles_and_deploys_are_marked() -> None:
    marks = {mark.title: mark.text for mark in annotation_expressions()}
    assert "shapbox_worker_recycles_total" in marks["Recycles"]
    assert "shapbox_start_time_seconds" in marks["Deploys and starts"]
    assert "commit" in marks["Deploys and starts"]
