"""Fit the scaler and the classifier."""

from __future__ import annotations

import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ml.evaluate import Pair
from ml.schema import FEATURES, TARGET

MAX_ITERATIONS = 1000  # it converges in a few dozen on scaled features; the default of 100 leaves little room


def train(table: pd.DataFrame) -> Pair:
    """The scale of these rows, and a logistic regression on them, scaled."""
    scaler = StandardScaler()
    scaled = scaler.fit_transform(table[FEATURES])
    return Pair(LogisticRegression(max_iter=MAX_ITERATIONS).fit(scaled, table[TARGET]), scaler)
