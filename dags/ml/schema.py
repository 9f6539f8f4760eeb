"""The columns of Breast Cancer Wisconsin, and the JSON shapes in which its rows travel over XCom."""

from __future__ import annotations

from typing import TypedDict

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
FEATURES = (
    *(f"mean {measure}" for measure in _MEASURES),
    *(f"{measure} error" for measure in _MEASURES),
    *(f"worst {measure}" for measure in _MEASURES),
)
TARGET = "target"
COLUMNS = (*FEATURES, TARGET)
CLASSES = ("malignant", "benign")  # the target is the index in here; 1 counts as positive


class RawTable(TypedDict):
    """The CSV as text: a cell for each of `COLUMNS`, in that order."""

    source: str
    rows: list[list[str]]


class Table(TypedDict):
    """Numbers: a row of `FEATURES`, and its class, for each observation."""

    rows: list[list[float]]
    target: list[int]
