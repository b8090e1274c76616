from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shared.explanation import Explanation
from shared.models.activation.compilation import compile_booster
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import read_forest
from shared.treeshap.library import Library, native_model
from tests.unit.shared.treeshap.boosters import Floats, train

SIZES = (1, 2, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000)
MODELS: dict[str, dict[str, Any]] = {
    "tables of all sizes": {"depth": 6, "trees": 8, "features": 10},
    "repeated features": {"depth": 6, "trees": 8, "features": 2},
    "quadrature": {"depth": 8, "trees": 4, "features": 10, "min_child_weight": 0},
    "classes and categories": {
        "depth": 5,
        "trees": 4,
        "features": 5,
        "categories": 40,
        "max_cat_to_onehot": 1,
        "objective": "multi:softprob",
        "num_class": 3,
    },
}


@pytest.fixture(scope="module", params=MODELS)
def compiled_and_rows(request: pytest.FixtureRequest) -> tuple[Compiled, Floats]:
    booster, x = train(**MODELS[request.param])
    return compile_booster(booster), np.concatenate([x, x])[:1000]


@pytest.mark.parametrize("size", SIZES)
def test_all_kernels_give_the_same_for_any_number_of_rows(
    library: Library, compiled_and_rows: tuple[Compiled, Floats], size: int
) -> None:
    compiled, x = compiled_and_rows
    wanted = Explainer(compiled, library, library.kernels()[-1]).explain(x)
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(x[-size:])
        np.testing.assert_allclose(got.contributions, wanted[-size:].contributions, atol=1e-6)
        np.testing.assert_array_equal(got.margins, wanted[-size:].margins)


def test_tables_and_quadrature_give_the_same(library: Library) -> None:
    booster, x = train(6, 10, 8)
    forest = read_forest(bytes(booster.save_raw("ubj")))
    start = compile_booster(booster).start
    with_tables, without = (compile_forest(forest, start, budget) for budget in (64, 0))
    assert with_tables.trees["has_tables"].all()
    assert not without.trees["has_tables"].any()
    for kernel in library.kernels():
        by_tables, by_quadrature = (
            Explainer(one, library, kernel).explain(x).array for one in (with_tables, without)
        )
        np.testing.assert_allclose(by_tables, by_quadrature, atol=1e-6)


def test_tables_stop_at_their_budget_and_the_trees_beyond_are_as_exact(library: Library) -> None:
    booster, x = train(6, 20, 8)
    forest = read_forest(bytes(booster.save_raw("ubj")))
    whole = compile_booster(booster)
    budget = whole.tables.nbytes / 2e6
    half = compile_forest(forest, whole.start, budget)
    assert 0 < half.trees["has_tables"].sum() < 20
    assert half.tables.nbytes <= budget * 1e6
    np.testing.assert_allclose(
        Explainer(half, library).explain(x).array, Explainer(whole, library).explain(x).array, atol=1e-6
    )


def test_a_row_alone_is_as_exact_where_nothing_is_left_of_the_budget_for_factors(library: Library) -> None:
    booster, x = train(6, 20, 8)
    whole = compile_booster(booster)
    bare = compile_forest(read_forest(bytes(booster.save_raw("ubj"))), whole.start, whole.tables.nbytes / 1e6)
    assert (whole.trees["factors"] >= 0).all()
    assert (bare.trees["factors"] == -1).all()
    assert bare.trees["has_tables"].all()
    for kernel in library.kernels():
        wanted = Explainer(whole, library, kernel).explain(x[:1])
        np.testing.assert_allclose(
            Explainer(bare, library, kernel).explain(x[:1]).array,
            wanted.array,
            atol=1e-6,
            err_msg=kernel.engine,
        )
        assert wanted.values.any()


def test_a_row_alone_and_in_a_block_have_the_same_margin_and_no_rows_give_nothing(library: Library) -> None:
    booster, x = train(6, 10, 8)
    explainer = Explainer(compile_booster(booster), library)
    alone = Explanation.concatenate([explainer.explain(row[None]) for row in x[:40]])
    together = explainer.explain(x[:40])
    np.testing.assert_array_equal(alone.base_values, together.base_values)
    np.testing.assert_array_equal(alone.margins, together.margins)
    np.testing.assert_allclose(alone.array, together.array, atol=1e-6)
    assert explainer.explain(x[:0]).array.shape == (0, 1, 10)


def test_threads_share_an_explainer(library: Library) -> None:
    booster, x = train(6, 10, 8)
    explainer = Explainer(compile_booster(booster), library)
    wanted = explainer.explain(x).array
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(explainer.explain, [x] * 40):
            np.testing.assert_array_equal(got.array, wanted)


def test_rows_of_any_memory_layout_are_taken_and_of_another_width_refused(library: Library) -> None:
    booster, x = train(3, 2, 4)
    explainer = Explainer(compile_booster(booster), library)
    wanted = explainer.explain(x).array
    np.testing.assert_array_equal(explainer.explain(np.asfortranarray(x)).array, wanted)
    np.testing.assert_array_equal(explainer.explain(x[::-1]).array[::-1], wanted)
    with pytest.raises(ValueError, match="4 columns"):
        explainer.explain(x[:, :3])


def test_a_model_of_single_leaves_has_a_margin_and_no_contributions(library: Library) -> None:
    booster, x = train(3, 2, 4, gamma=1e9)
    compiled = compile_booster(booster)
    assert not len(compiled.nodes)
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(x)
        assert not got.values.any()
        np.testing.assert_allclose(got.margins, got.base_values, rtol=1e-6)
    assert native_model(compiled).used == 0
