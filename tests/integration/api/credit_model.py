"""A contract with every kind of feature, and rows of it, without a model."""

from __future__ import annotations

import numpy as np

from shared.models.contract import Adverse, Contract, Feature, Kind, Link, Reason, Trees, TreesReason

CREDIT = Contract(
    name="credit",
    version=2,
    sha256="",
    features=(
        Feature("net\u00a0income"),
        Feature("married", Kind.BOOLEAN),
        Feature("home", Kind.CATEGORY, ("own", "rent, shared")),
        Feature("region", Kind.CATEGORY, (10, -20)),
        Feature("code", Kind.CATEGORY),
    ),
    outputs=("default",),
    objective="binary:logistic",
    link=Link.SIGMOID,
    library_version="3.4.1",
    missing=(-999.0,),
    trees=Trees(7, 19, TreesReason.BEST_ITERATION),
    groups={"where": ("home", "region")},
    reasons={"where": Reason("R1", "Where you live")},
    never_reasons=("married",),
    adverse=Adverse.HIGH,
    training={"rows": 5},
)
CREDIT_ROWS = np.array([[1.5, 0, 1, 0, 3], [np.nan, 1, np.nan, 1, np.nan]], dtype=np.float32)
