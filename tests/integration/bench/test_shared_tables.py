from __future__ import annotations

import pytest

from ops.lab.bench.parts import QUICK_SHAPE
from ops.lab.bench.shared_tables import measure_shared_tables, shared_table
from shared.treeshap.library import find_library


@pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")
def test_what_processes_have_alone_is_less_than_what_they_share() -> None:
    found = measure_shared_tables(QUICK_SHAPE, 1_000)
    assert {*found.processes} == {"worker 1", "worker 2", "api"}
    for resident, pss, alone in found.processes.values():
        assert 5 < alone < pss < resident < 200
    assert f"| worker 1 | {found.processes['worker 1'][0]:.0f}" in shared_table(found)
