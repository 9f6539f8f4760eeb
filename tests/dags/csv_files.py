"""Training CSVs that somebody has changed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from ml.settings import BUNDLED_CSV

Lines = list[list[str]]


def changed_csv(path: Path, change: Callable[[Lines], object]) -> Path:
    """The bundled CSV after `change` has had its way with its lines; the header is line 0."""
    with BUNDLED_CSV.open(newline="") as file:
        lines = list(csv.reader(file))
    change(lines)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    return path


def set_cell(line: int, column: str, value: str) -> Callable[[Lines], None]:
    """Line as an editor counts: the header is 1."""

    def change(lines: Lines) -> None:
        lines[line - 1][lines[0].index(column)] = value

    return change


def drop_column(column: str) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        position = lines[0].index(column)
        for line in lines:
            del line[position]

    return change


def keep_class(target: str) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[1:] = [line for line in lines[1:] if line[-1] == target]

    return change
