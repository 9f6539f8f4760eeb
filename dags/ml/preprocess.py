"""Turn text into numbers, and part the features from the target."""

from __future__ import annotations

import math

from ml.errors import DataError
from ml.schema import CLASSES, COLUMNS, FEATURES, TARGET, RawTable, Table

# Each class must be found among the training rows and among the held-out fifth: ROC AUC needs both.
MIN_ROWS_PER_CLASS = 5


def preprocess(raw: RawTable) -> Table:
    """Every cell as a finite number, every target as the index of its class.

    Raises `DataError` for a cell that is no finite number, a target that is no class, and a class with
    fewer than `MIN_ROWS_PER_CLASS` rows.
    """
    source = raw["source"]
    numbers = [
        [_number(source, line, column, cell) for column, cell in zip(COLUMNS, cells, strict=True)]
        for line, cells in enumerate(raw["rows"], start=2)
    ]
    target = [_class(source, line, row[-1]) for line, row in enumerate(numbers, start=2)]
    for index, name in enumerate(CLASSES):
        if target.count(index) < MIN_ROWS_PER_CLASS:
            raise DataError(
                source,
                f"number of rows with {TARGET} {index} ({name})",
                target.count(index),
                f"give at least {MIN_ROWS_PER_CLASS} rows of each class",
            )
    return {"rows": [row[: len(FEATURES)] for row in numbers], "target": target}


def _number(source: str, line: int, column: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(source, f"line {line}, column {column!r}", cell, "give a finite number")
    return number


def _class(source: str, line: int, number: float) -> int:
    if number not in range(len(CLASSES)):
        meaning = " or ".join(f"{index} ({name})" for index, name in enumerate(CLASSES))
        raise DataError(source, f"line {line}, column {TARGET!r}", number, f"give {meaning}")
    return int(number)
