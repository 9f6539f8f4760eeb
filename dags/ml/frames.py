"""DataFrames as JSON, and back: what a task hands on by XCom. A float keeps its every bit."""

from __future__ import annotations

from typing import Any, TypedDict, cast

import pandas as pd

from ml.schema import TYPES


class Frame(TypedDict):
    """As `to_dict(orient="split")` gives it."""

    index: list[int]
    columns: list[str]
    data: list[list[Any]]


def packed(frame: pd.DataFrame) -> Frame:
    """Not `to_json`, which rounds."""
    return cast("Frame", frame.to_dict(orient="split"))


def text(frame: Frame) -> pd.DataFrame:
    """The table that `load` gave."""
    cells: pd.DataFrame = pd.DataFrame(**frame)
    return cells


def numbers(frame: Frame) -> pd.DataFrame:
    """A table of numbers. PostgreSQL's JSONB has written 1e16 as an integer."""
    table: pd.DataFrame = pd.DataFrame(**frame).astype(TYPES)
    return table
