"""Fit the classifier."""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ml.schema import Table

MAX_ITERATIONS = 1000  # it converges in a few dozen on scaled features; the default of 100 leaves little room


def train(table: Table, scaler: StandardScaler) -> LogisticRegression:
    """A logistic regression on the scaled rows."""
    return LogisticRegression(max_iter=MAX_ITERATIONS).fit(scaler.transform(table["rows"]), table["target"])
