"""The columns of Breast Cancer Wisconsin, what each of their cells must be, and the check of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from ml.errors import DataError

_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
# Ten measures of a cell nucleus, each as mean, standard error and worst value of the image.
FEATURES = [
    *(f"mean {measure}" for measure in _MEASURES),
    *(f"{measure} error" for measure in _MEASURES),
    *(f"worst {measure}" for measure in _MEASURES),
]
TARGET = "target"
COLUMNS = [*FEATURES, TARGET]
CLASSES = ("malignant", "benign")  # the target is the index in here; 1 counts as positive
TYPES = {**dict.fromkeys(FEATURES, "float64"), TARGET: "int64"}
"""What the columns are, once their text has been checked."""


def number(cell: str) -> float:
    """The nearest float (`pd.to_numeric` is off by a bit in one of four); NaN where the text is none."""
    try:
        return math.nan if "_" in cell else float(cell)  # Python alone reads 1_000 as a number
    except ValueError:
        return math.nan


class Check(NamedTuple):
    """What is wrong with a cell of these columns, and what to do about it."""

    columns: list[str]
    is_wrong: Callable[[str], bool]
    remedy: str


CHECKS = (
    Check(COLUMNS, lambda cell: cell == "", "fill the cell in or remove the line"),
    Check(COLUMNS, lambda cell: not math.isfinite(number(cell)), "give a finite number"),
    Check(
        [TARGET],
        lambda cell: number(cell) not in range(len(CLASSES)),
        "give " + " or ".join(f"{index} ({name})" for index, name in enumerate(CLASSES)),
    ),
)


def check(text: pd.DataFrame, source: str) -> None:
    """Raise `DataError` for the first cell that a check finds wrong; the index has the lines' numbers."""
    for columns, is_wrong, remedy in CHECKS:
        wrong = text[columns].map(is_wrong)
        if wrong.any(axis=None):
            line = wrong.any(axis="columns").idxmax()
            column = wrong.loc[line].idxmax()
            raise DataError(source, f"line {line}, column {column!r}", text.at[line, column], remedy)
