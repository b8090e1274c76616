"""The SHAP values of rows, with names, base values and the rows themselves."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Values of rows x features, or rows x features x outputs if the model has several outputs.

    `base_values + values.sum(axis=1)` are the margins: what the model returns before its link function.
    """

    values: NDArray[np.float32]
    #: Rows, or rows x outputs.
    base_values: NDArray[np.float32]
    feature_names: list[str]
    output_names: list[str]
    #: The rows as numbers, rows x features in the model's order; categories are codes. None if they are not known.
    data: NDArray[np.float64] | None = None
    #: The same with the labels of categories; None if there are none.
    display_data: NDArray[np.object_] | None = None
    #: Rows x features x features (x outputs), if they were requested.
    interactions: NDArray[np.float32] | None = None
    #: For each row (and output) the largest interactions, if `top_pairs` was requested.
    pairs: list[Any] | None = None
    #: NAME@VERSION.
    model: str = ""
    method: str = ""
    #: None if the appliance kept no job.
    job_id: str | None = None
    #: The index of the DataFrame with the rows.
    index: Any = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def margins(self) -> NDArray[np.float64]:
        """The score of each row (and output), to which its values add up."""
        return self.base_values.astype(np.float64) + self.values.sum(axis=1, dtype=np.float64)

    def to_shap(self) -> Any:
        """Return a shap.Explanation for shap's plots."""
        import shap

        several = {"output_names": self.output_names} if self.values.ndim == 3 else {}
        return shap.Explanation(
            values=self.values.astype(np.float64),
            base_values=self.base_values.astype(np.float64),
            data=self.data,
            display_data=self.display_data,
            feature_names=self.feature_names,
            **several,
        )

    def to_frame(self, library: str | None = None) -> Any:
        """Return a DataFrame: a column for each feature, `base_value` and `margin`.

        For several outputs there is a line for each row and output, with the column `output` first. `library` is "pandas"
        or "polars"; by default pandas if it is installed. Raises ValueError if a feature has the name of a column of ours.
        """
        if taken := {"output", "base_value", "margin"} & {*self.feature_names}:
            raise ValueError(
                f"A feature has the name of another column of the frame: {', '.join(sorted(taken))}."
            )
        outputs = len(self.output_names)
        values = np.moveaxis(self.values, -1, 1).reshape(-1, len(self.feature_names))
        if self.values.ndim == 2:
            values = self.values
        columns: dict[str, Any] = {"output": np.tile(self.output_names, len(self))} if outputs > 1 else {}
        columns |= {name: values[:, place] for place, name in enumerate(self.feature_names)}
        columns |= {"base_value": self.base_values.reshape(-1), "margin": self.margins.reshape(-1)}
        if library is None:
            library = next((name for name in ("pandas", "polars") if importlib.util.find_spec(name)), None)
        if library is None:
            raise ImportError("to_frame needs pandas or polars: pip install 'shapbox[pandas]'")
        if library == "polars":
            import polars as pl

            return pl.DataFrame(columns)
        import pandas as pd

        index = None if self.index is None else self.index.repeat(outputs)
        return pd.DataFrame(columns, index=index)
