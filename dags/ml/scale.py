"""A fitted StandardScaler as JSON, and back: what a task learns from its rows, it hands on by XCom."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ml.schema import Table


class Scale(TypedDict):
    """StandardScaler's fitted attributes, for each feature in turn."""

    mean: list[float]
    var: list[float]
    scale: list[float]
    rows: int


def fit(table: Table) -> Scale:
    """Mean and variance of the features over these rows."""
    scaler = StandardScaler().fit(table["rows"])
    return {
        "mean": scaler.mean_.tolist(),
        "var": scaler.var_.tolist(),
        "scale": scaler.scale_.tolist(),
        "rows": int(scaler.n_samples_seen_),
    }


def scaler_of(scale: Scale) -> StandardScaler:
    """The scaler that `fit` saw, bit for bit: JSON keeps a float's every digit."""
    scaler = StandardScaler()
    scaler.mean_ = np.array(scale["mean"])
    scaler.var_ = np.array(scale["var"])
    scaler.scale_ = np.array(scale["scale"])
    scaler.n_samples_seen_ = np.int64(scale["rows"])
    scaler.n_features_in_ = len(scale["mean"])
    return scaler
