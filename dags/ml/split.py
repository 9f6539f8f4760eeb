"""Hold out a fifth of the rows, and learn the scale of the features from the others alone."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

from ml.scale import Scale, fit
from ml.schema import Table

HELD_OUT_SHARE = 0.2
RANDOM_STATE = 42  # fixed: two runs over the same file hold out the same rows, so their models compare


class Split(TypedDict):
    """The parts hold the numbers as they were read; `scale` has seen the training rows only."""

    train: Table
    held_out: Table
    scale: Scale


def split(table: Table) -> Split:
    """A stratified 80/20 split, and the scale of its training rows."""
    train_rows, held_out_rows = train_test_split(
        np.arange(len(table["target"])),
        test_size=HELD_OUT_SHARE,
        stratify=table["target"],
        random_state=RANDOM_STATE,
    )
    train = _take(table, train_rows.tolist())
    return {"train": train, "held_out": _take(table, held_out_rows.tolist()), "scale": fit(train)}


def _take(table: Table, rows: list[int]) -> Table:
    return {"rows": [table["rows"][row] for row in rows], "target": [table["target"][row] for row in rows]}
