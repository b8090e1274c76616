import numpy as np
import pytest

from ops.lab.bench.truth import exact_values
from tests.unit.shared.treeshap.boosters import rows_of, train
from tests.unit.shared.treeshap.truth import shapley_by_subsets


@pytest.mark.parametrize(("depth", "features"), [(1, 3), (3, 2), (4, 6)])
def test_the_truth_is_the_definition_over_all_subsets(depth: int, features: int) -> None:
    booster, _ = train(depth, 5, features)
    rows = rows_of(1, 12, features)
    wanted = shapley_by_subsets(booster, rows)[:, 0]
    np.testing.assert_allclose(exact_values(booster, rows), wanted, atol=1e-12)
