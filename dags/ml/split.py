"""Hold out a fifth of the rows."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from sklearn.model_selection import train_test_split

from ml.schema import TARGET

HELD_OUT_SHARE = 0.2
RANDOM_STATE = 42  # fixed: two runs over the same file hold out the same rows, so their models compare


class Split(NamedTuple):
    """Both parts hold the numbers as they were read."""

    train: pd.DataFrame
    held_out: pd.DataFrame


def split(table: pd.DataFrame) -> Split:
    """Stratified, 80/20."""
    return Split(
        *train_test_split(table, test_size=HELD_OUT_SHARE, stratify=table[TARGET], random_state=RANDOM_STATE)
    )
