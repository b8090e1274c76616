from pathlib import Path

import pytest

from ops.lab.bench import models
from ops.lab.bench.memory import measure_memory
from ops.lab.bench.report import Effort
from ops.lab.bench.service import BARE, measure_service
from ops.lab.bench.services import OURS
from shared.treeshap.library import find_library


@pytest.fixture
def effort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Effort:
    library = find_library()
    if library is None:
        pytest.skip("the kernels are not built: no C compiler")
    monkeypatch.setattr(models, "MODELS", tmp_path)
    monkeypatch.setattr(models, "KEPT_TREES", 3)
    # The peers' environments are not made here: 1.3 GB of other people's packages would be too much for each run of CI.
    return Effort(library, print, minutes=1.0, quick=True, peers=False)


def test_ours_is_measured_over_http_beside_bare_processes(effort: Effort) -> None:
    report = measure_service(effort)
    assert list(report.head) == ["measured", OURS, BARE]
    figures = {line[0]: line[1:] for line in report.lines}
    assert {name.partition(",")[0] for name in figures} >= {
        "1 row as application/json",
        "500 rows as text/csv",
    }
    assert [name for name in figures if "beside a job of 2" in name]
    assert all(line[0] for line in figures.values())
    peaks = [cell for name, line in figures.items() if "peak" in name for cell in line]
    assert len(peaks) == 6
    assert all(float(cell.partition(" ")[0]) >= 20 for cell in peaks)
    assert report.wrong == []


def test_what_processes_have_alone_is_less_than_what_they_share(effort: Effort) -> None:
    report = measure_memory(effort)
    assert report.wrong == []
    assert [line[0] for line in report.lines] == ["worker 1", "worker 2", "api"]
    for _, resident, pss, alone in report.lines:
        assert 5 < int(alone) <= int(pss) < int(resident) < 200
