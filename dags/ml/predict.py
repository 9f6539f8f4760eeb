"""What the champion says of each row."""

from __future__ import annotations

import pandas as pd

from ml.evaluate import Pair
from ml.schema import CLASSES, TARGET


def predictions(pair: Pair, table: pd.DataFrame) -> bytes:
    """CSV with a line for each row of the table, in its order, counted from 0."""
    names = pd.Series(CLASSES)
    outcome = pd.DataFrame(
        {
            "probability_benign": pair.probabilities(table),
            "predicted": names[pair.classes(table)].to_numpy(),
            "actual": names[table[TARGET]].to_numpy(),
        }
    )
    text: str = outcome.to_csv(index_label="row", lineterminator="\n")
    return text.encode()
