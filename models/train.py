"""Trains the three models that Shapbox ships: `python -m models.train [--models-dir DIR] [NAME …]`.

The data are scikit-learn's own, so nothing is downloaded. Seeds are fixed, one thread is used and no clock is
read: on the same machine and versions the same bytes come out, on another the same predictions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
import xgboost
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split

from shared.models.contract import Contract, Feature, Trees, link_of
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from shared.models.version import ModelVersion

#: Seeds the split, the training and the choice of background rows.
SEED = 20261123

#: The day on which data, parameters or seed were last changed.
TRAINED_ON = "2026-11-23"

#: Training rows kept as the background of interventional explanations; more make them slower, hardly better.
BACKGROUND_ROWS = 100

#: The share of rows that is held out for the score.
HELD_OUT = 0.25

_COMMON = {"nthread": 1, "seed": SEED, "tree_method": "hist", "eta": 0.08, "subsample": 0.8, "verbosity": 0}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made. `target` turns scikit-learn's labels into what the model learns."""

    name: str
    load: Callable[[], Any]
    outputs: tuple[str, ...]
    params: dict[str, Any]
    trees: int
    score: Callable[[NDArray[Any], NDArray[Any]], dict[str, float]]
    label: str
    target: Callable[[NDArray[Any]], NDArray[Any]] = field(default=lambda labels: labels)
    all_rows_as_examples: bool = False


def _score_binary(labels: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    return {
        "accuracy": float(np.mean((predicted > 0.5) == labels)),
        "roc_auc": float(metrics.roc_auc_score(labels, predicted)),
    }


def _score_classes(labels: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    return {
        "accuracy": float(np.mean(predicted.argmax(axis=1) == labels)),
        "log_loss": float(metrics.log_loss(labels, predicted)),
    }


def _score_number(labels: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    return {
        "r2": float(metrics.r2_score(labels, predicted)),
        "rmse": float(metrics.root_mean_squared_error(labels, predicted)),
    }


RECIPES = (
    Recipe(
        name="breast-cancer",
        load=datasets.load_breast_cancer,
        outputs=("malignant",),
        params={"objective": "binary:logistic", "max_depth": 4},
        trees=150,
        score=_score_binary,
        label="1 = malignant, 0 = benign (scikit-learn has them the other way round)",
        target=lambda labels: 1 - labels,
        # 569 rows are two batches: a job over them shows progress.
        all_rows_as_examples=True,
    ),
    Recipe(
        name="wine",
        load=datasets.load_wine,
        outputs=("class_0", "class_1", "class_2"),
        params={"objective": "multi:softprob", "num_class": 3, "max_depth": 4},
        trees=100,
        score=_score_classes,
        label="the cultivar, 0 to 2",
    ),
    Recipe(
        name="diabetes",
        load=lambda: datasets.load_diabetes(scaled=False),
        outputs=("disease_progression",),
        params={"objective": "reg:squarederror", "max_depth": 4, "min_child_weight": 10, "eta": 0.03},
        trees=150,
        score=_score_number,
        label="disease progression one year after baseline, 25 to 346",
    ),
)


def train_model(recipe: Recipe, models_dir: Path) -> ModelVersion:
    """Train one model and write it as `models_dir/NAME/1`, in place of what is there."""
    data = recipe.load()
    rows = np.ascontiguousarray(data.data, dtype=np.float32)
    labels = recipe.target(data.target).astype(np.float32)
    features = tuple(str(name) for name in data.feature_names)
    stratify = None if recipe.params["objective"].startswith("reg:") else labels
    rows_in, rows_out, labels_in, labels_out = train_test_split(
        rows, labels, test_size=HELD_OUT, random_state=SEED, stratify=stratify
    )
    params = {**_COMMON, **recipe.params}
    matrix = xgboost.DMatrix(rows_in, labels_in, feature_names=list(features), nthread=1)
    booster = xgboost.train(params, matrix, num_boost_round=recipe.trees)
    predicted = booster.predict(xgboost.DMatrix(rows_out, feature_names=list(features), nthread=1))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(rows_in))[:BACKGROUND_ROWS])
    contract = Contract(
        name=recipe.name,
        version=1,
        sha256="",
        # All columns are numbers: none of these data sets has categories.
        features=tuple(map(Feature, features)),
        outputs=recipe.outputs,
        objective=recipe.params["objective"],
        link=link_of(recipe.params["objective"]),
        library_version=xgboost.__version__,
        trees=Trees(booster.num_boosted_rounds(), booster.num_boosted_rounds()),
        training={
            "script": "models/train.py",
            "data": f"sklearn.datasets, scikit-learn {sklearn.__version__}",
            "label": recipe.label,
            "rows": {"trained": len(rows_in), "held_out": len(rows_out)},
            "trees": recipe.trees,
            "params": params,
            "held_out_score": {k: round(v, 4) for k, v in recipe.score(labels_out, predicted).items()},
            "date": TRAINED_ON,
        },
    )
    draft = ModelDraft(
        contract,
        bytes(booster.save_raw("ubj")),
        background=rows_in[chosen],
        examples=rows if recipe.all_rows_as_examples else rows_out,
    )
    return write_model_folder(models_dir, draft, replace=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models named, or all, and tell how good each is."""
    parser = argparse.ArgumentParser(prog="python -m models.train", description="Train the shipped models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which models (all, if none is named)")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="where to (default: models)")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {recipe.name for recipe in RECIPES}
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    for recipe in RECIPES:
        if not options.names or recipe.name in options.names:
            made = train_model(recipe, options.models_dir)
            print(f"{made.id}  {made.contract.training['held_out_score']}  sha256 {made.contract.sha256}")


if __name__ == "__main__":
    main()
