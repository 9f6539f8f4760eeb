"""Turn text into numbers."""

from __future__ import annotations

import pandas as pd

from ml.errors import DataError
from ml.schema import CLASSES, TARGET, TYPES, check, number

# Each class must be found among the training rows and among the held-out fifth: ROC AUC needs both.
MIN_ROWS_PER_CLASS = 5


def preprocess(text: pd.DataFrame, source: str) -> pd.DataFrame:
    """Every cell as a finite number, every target as the index of its class.

    Raises `DataError` for a cell that a check of the schema finds wrong, and for a class with fewer than
    `MIN_ROWS_PER_CLASS` rows.
    """
    check(text, source)
    table: pd.DataFrame = text.map(number).astype(TYPES)
    for index, name in enumerate(CLASSES):
        count = int((table[TARGET] == index).sum())
        if count < MIN_ROWS_PER_CLASS:
            raise DataError(
                source,
                f"number of rows with {TARGET} {index} ({name})",
                count,
                f"give at least {MIN_ROWS_PER_CLASS} rows of each class",
            )
    return table
