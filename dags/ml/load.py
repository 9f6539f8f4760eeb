"""Read the training CSV and see that it is a whole table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ml.errors import DataError
from ml.schema import COLUMNS, RawTable

# The rows travel over XCom: every task stores a copy of them in Airflow's database. 569 rows are 0.12 MB.
MAX_BYTES = 8 * 2**20


def load(path: Path) -> RawTable:
    """The file's rows, with the columns in the order of `COLUMNS`; columns it does not know are left out.

    Raises `DataError` for a file that is missing, unreadable, too large or empty, a header that lacks or
    repeats a column, a line with too few or too many cells, and an empty cell.
    """
    source = str(path)
    header, *lines = _parse(source, _read(path)) or [[]]
    positions = _positions(source, header)
    if not lines:
        raise DataError(source, "number of rows", 0, "give at least one observation below the header")
    # A line's number: the header is line 1.
    rows = [_cells(source, number, line, header, positions) for number, line in enumerate(lines, start=2)]
    return {"source": source, "rows": rows}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(
                str(path), "size", f"> {MAX_BYTES} bytes", "give fewer rows: they travel over XCom"
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            str(path), "file", error.strerror, "put the CSV there, or name another in WINDSOCK_TRAINING_CSV"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"byte {error.start}", error.reason, "save the file as UTF-8") from error


def _parse(source: str, text: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(source, "content", str(error), "save the file as comma-separated values") from error


def _positions(source: str, header: list[str]) -> list[int]:
    names = [name.strip() for name in header]
    for column in COLUMNS:
        if names.count(column) != 1:
            raise DataError(
                source,
                f"column {column!r}",
                "repeated" if column in names else "missing",
                "the header needs it exactly once",
            )
    return [names.index(column) for column in COLUMNS]


def _cells(source: str, number: int, line: list[str], header: list[str], positions: list[int]) -> list[str]:
    if len(line) != len(header):
        raise DataError(
            source,
            f"line {number}'s number of cells",
            len(line),
            f"the header has {len(header)}: give as many",
        )
    cells = [line[position].strip() for position in positions]
    if "" in cells:
        column = COLUMNS[cells.index("")]
        raise DataError(
            source, f"line {number}, column {column!r}", "", "fill the cell in or remove the line"
        )
    return cells
