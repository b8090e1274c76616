import re

import pytest

from ops.lab.bench.bulk import BARE, Bulk
from ops.lab.bench.cells import Cell, Found
from ops.lab.bench.engine_report import engine_table, ratio, slower_than_xgboost, verdict, wrong_values
from ops.lab.bench.engines import Line
from ops.lab.bench.latency import Latency
from ops.lab.bench.over_http import OverHttp
from ops.lab.bench.over_http_report import bulk_table, latency_table, wrong_results
from ops.lab.bench.over_http_report import verdict as http_verdict
from ops.lab.bench.services import FASTAPI, NPY, OURS
from ops.lab.bench.trained import Shape

OUR_KERNEL = "compiled-portable"


def cell(micros: float, rows: int = 500) -> Cell:
    return Cell(rows, micros / 1e6, micros / 2e6, micros / 5e5)


def line(ours: float, apart: float = 1e-7, **others: Found) -> Line:
    cells: dict[str, Found] = {
        "pred_contribs": cell(300),
        "predict": cell(2),
        OUR_KERNEL: cell(ours),
        **others,
    }
    return Line(Shape(6, 100, 30), 500, cells, {OUR_KERNEL: apart, "shap": 3e-6})


def test_a_ratio_is_of_the_medians() -> None:
    assert ratio(line(3), OUR_KERNEL) == pytest.approx(100)
    assert ratio(line(3), OUR_KERNEL, to="predict") == pytest.approx(2 / 3)
    assert ratio(line(3, woodelf="> 5 s"), "woodelf") is None


def test_no_cell_of_the_table_is_left_out() -> None:
    printed = engine_table([line(3, shapiq=cell(400, rows=20), woodelf="> 5 s")])
    head, _, row = (text.split("|")[1:-1] for text in printed.splitlines())
    assert len(head) == len(row)
    found = dict(zip((name.strip() for name in head), (each.strip() for each in row), strict=True))
    assert found[OUR_KERNEL] == "3 (1.5-6)"
    assert found[f"{OUR_KERNEL} to XGBoost"] == "**x 100**"
    assert found["shapiq"] == "400 (200-800) on 20"
    assert found["woodelf"] == "> 5 s"
    assert found["shap"] == "not installed"
    assert found["ours apart"] == "1e-07"
    assert found["peers apart"] == "3e-06"


def test_where_a_kernel_is_slower_than_xgboost_is_said() -> None:
    assert slower_than_xgboost([line(3)]) == []
    assert verdict([line(3)]).startswith("Nowhere in these 1 lines")
    slow = verdict([line(3), line(600)])
    assert "depth 6, 100 trees, 30 features, 500 rows, compiled-portable: 0.5 times" in slow


@pytest.mark.parametrize("apart", [1e-3, float("inf"), float("nan")])
def test_a_wrong_value_of_ours_is_noticed(apart: float) -> None:
    assert wrong_values([line(3)]) == []
    assert len(wrong_values([line(3, apart)])) == 1


def latency(service: str, *milliseconds: float, beside: str = "idle") -> Latency:
    return Latency(service, NPY, 1, beside, [[each / 1000] for each in milliseconds])


def test_percentiles_are_medians_of_rounds_with_their_spread() -> None:
    assert latency(OURS, 1, 2, 9).percentile(50) == pytest.approx((2, 1, 9))
    assert "2 (1-9)" in latency_table([latency(OURS, 1, 2, 9)])


def bulk(service: str, *rates: float, apart: float = 0.0) -> Bulk:
    return Bulk(service, "in memory" if service == BARE else NPY, 1000, 10**8, list(rates), 2 * 10**8, apart)


def test_rows_a_second_are_compared_with_the_bare_processes() -> None:
    printed = bulk_table([bulk(BARE, 100, 200, 900), bulk(OURS, 1000, 2000, 2500)])
    assert re.search(r"Shapbox .*\| 2,000 \(1,000-2,500\) \| x 10 +\| 100 +\| 200 ", printed)


def test_a_peer_that_is_ahead_is_named() -> None:
    found = OverHttp(
        [latency(OURS, 2), latency(FASTAPI, 1)], [bulk(BARE, 1), bulk(OURS, 5), bulk(FASTAPI, 6)]
    )
    said = http_verdict(found)
    assert "p50: 1 to 2 ms" in said
    assert "6 to 5 rows/s" in said


def test_where_no_peer_is_ahead_that_is_said() -> None:
    separate = latency(FASTAPI, 1, beside="beside bulk requests of its own")
    found = OverHttp([latency(OURS, 2), latency(FASTAPI, 3), separate], [bulk(BARE, 1), bulk(OURS, 5)])
    assert http_verdict(found).startswith("No peer is ahead")


def test_wrong_results_of_a_service_are_noticed() -> None:
    assert wrong_results([bulk(OURS, 1)]) == []
    assert len(wrong_results([bulk(OURS, 1, apart=0.1), bulk(FASTAPI, 1, apart=float("nan"))])) == 2
