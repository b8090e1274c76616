from pathlib import Path

import pytest

from ops.lab.bench import models
from ops.lab.bench.report import Effort
from ops.lab.bench.service import measure_service
from ops.lab.bench.services import OURS
from shared.treeshap.library import find_library


def test_ours_is_measured_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = find_library()
    if library is None:
        pytest.skip("the kernels are not built: no C compiler")
    monkeypatch.setattr(models, "MODELS", tmp_path)
    # The peers' environments are not made here: 1.3 GB of other people's packages would be too much for each run of CI.
    report = measure_service(Effort(library, print, minutes=1.0, quick=True, peers=False))
    assert list(report.head) == ["measured", OURS]
    figures = {what: float(cell.partition(" ")[0].replace(",", "")) for what, cell in report.lines}
    assert {name.partition(",")[0] for name in figures} >= {
        "1 row as application/json",
        "500 rows as text/csv",
    }
    assert [name for name in figures if "beside bulk requests" in name]
    peaks = [megabytes for name, megabytes in figures.items() if "peak" in name]
    assert len(peaks) == 3
    assert min(peaks) >= 20
    assert report.wrong == []
