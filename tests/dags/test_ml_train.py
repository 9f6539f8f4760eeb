from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from ml.evaluate import Pair
from ml.schema import FEATURES
from ml.split import Split


def test_the_scale_is_that_of_the_training_rows_alone(table: pd.DataFrame, parts: Split, pair: Pair) -> None:
    assert pair.scaler.mean_ == pytest.approx(parts.train[FEATURES].mean().to_numpy())
    assert pair.scaler.n_samples_seen_ == 455
    assert pair.scaler.mean_ != pytest.approx(table[FEATURES].mean().to_numpy(), rel=1e-6)


def test_the_model_is_trained_on_scaled_rows(parts: Split, pair: Pair) -> None:
    scaled = StandardScaler().fit_transform(parts.train[FEATURES].to_numpy())

    assert np.array_equal(pair.scaler.transform(parts.train[FEATURES]), scaled)
    assert np.array_equal(pair.model.predict(scaled), pair.classes(parts.train))


def test_columns_in_another_order_are_the_same_rows(parts: Split, pair: Pair) -> None:
    turned = parts.held_out[parts.held_out.columns[::-1]]

    assert np.array_equal(pair.probabilities(turned), pair.probabilities(parts.held_out))
