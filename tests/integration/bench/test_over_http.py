from dataclasses import replace

from ops.lab.bench.bulk import BARE
from ops.lab.bench.over_http import measure_over_http
from ops.lab.bench.over_http_report import over_http_report, wrong_results
from ops.lab.bench.parts import QUICK_HTTP
from ops.lab.bench.services import OURS


def test_ours_is_measured_over_http_beside_bare_processes() -> None:
    # The peers' environments are not made here: 1.3 GB of other people's packages for each run of CI would be too much.
    found = measure_over_http(replace(QUICK_HTTP, peers=False), print)
    assert {each.service for each in found.latencies} == {OURS}
    assert {(each.rows, each.kind) for each in found.latencies} >= {
        (1, "application/json"),
        (500, "text/csv"),
    }
    assert [each.beside for each in found.latencies if "2,000" in each.beside]
    assert all(each.percentile(50)[0] > 0 for each in found.latencies)
    assert [each.service for each in found.bulk] == [BARE, OURS, OURS, OURS]
    assert all(each.peak_bytes >= 20e6 and each.rates[0] > 0 for each in found.bulk)
    assert wrong_results(found.bulk) == []
    assert OURS in over_http_report(found)
