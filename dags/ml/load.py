"""Read the training CSV as text, and see that it is a whole table."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import pandas as pd

from ml.errors import DataError
from ml.schema import COLUMNS

# The rows travel over XCom: every task stores a copy of them in Airflow's database. 569 rows are 0.12 MB.
MAX_BYTES = 8 * 2**20
MAX_COLUMNS = 1000  # pandas makes columns one by one: a million of them take minutes
# As many whole rows as fit into MAX_BYTES; of blank lines, millions would.
MAX_ROWS = MAX_BYTES // (2 * len(COLUMNS))


def load(path: Path) -> pd.DataFrame:
    """The file's cells as text, with the columns of `COLUMNS` alone and in that order.

    The index says in which line of the file a row begins. Raises `DataError` for a file that is missing,
    unreadable, too large or empty, a header that lacks or repeats a column, a line with too few or too many
    cells, and a header without rows.
    """
    source = str(path)
    content = _read(path)
    header = _header(source, content)
    positions = _positions(source, header)
    cells = _parse(source, content, len(header) + 1, MAX_ROWS + 1)
    cells = cells.set_axis(_line_numbers(cells), axis="index")
    rows = cells.iloc[1:]
    if rows.empty:
        raise DataError(source, "number of rows", 0, "give at least one observation below the header")
    _check_lengths(source, rows, len(header))
    text: pd.DataFrame = rows[positions].apply(lambda column: column.str.strip())
    text.columns = pd.Index(COLUMNS)
    return text


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(
                str(path), "size", f"> {MAX_BYTES} bytes", "give fewer rows: they travel over XCom"
            )
        content.decode()
        return content
    except OSError as error:
        raise DataError(
            str(path), "file", error.strerror, "put the CSV there, or name another in WINDSOCK_TRAINING_CSV"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"byte {error.start}", error.reason, "save the file as UTF-8") from error


def _parse(source: str, content: bytes, width: int, lines: int) -> pd.DataFrame:
    """Every cell as it stands there. A line's missing cells are NaN, which no cell is by itself; what lies
    beyond `width` is left out. The header is read as a line like others: pandas renames repeated columns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # that something is left out
            cells: pd.DataFrame = pd.read_csv(
                io.BytesIO(content),
                encoding="utf-8-sig",
                engine="python",  # the other one takes "1"2 for 12, and a missing cell for an empty one
                header=None,
                names=range(width),
                nrows=lines,
                index_col=False,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
            )
            return cells
    except (pd.errors.ParserError, csv.Error) as error:
        raise DataError(source, "content", str(error), "save the file as comma-separated values") from error


def _header(source: str, content: bytes) -> list[str]:
    first = _parse(source, content, MAX_COLUMNS + 1, 1)
    if first.empty:
        raise DataError(source, "size", "0 bytes", "give a header, and below it the observations")
    names: list[str] = first.iloc[0].dropna().str.strip().tolist()
    if len(names) > MAX_COLUMNS:
        raise DataError(source, "number of columns", f"> {MAX_COLUMNS}", f"give the {len(COLUMNS)} needed")
    return names


def _positions(source: str, header: list[str]) -> list[int]:
    for column in COLUMNS:
        if header.count(column) != 1:
            raise DataError(
                source,
                f"column {column!r}",
                "repeated" if column in header else "missing",
                "the header needs it exactly once",
            )
    return [header.index(column) for column in COLUMNS]


def _line_numbers(cells: pd.DataFrame) -> pd.Series[int]:
    """A quoted cell may go over several lines: what follows begins as many lines later."""
    breaks = cells.fillna("").apply(lambda column: column.str.count(r"\r\n|\r|\n")).sum(axis="columns")
    lines: pd.Series[int] = (breaks + 1).cumsum().shift(fill_value=0).astype("int64") + 1
    return lines


def _check_lengths(source: str, rows: pd.DataFrame, expected: int) -> None:
    lengths = rows.notna().sum(axis="columns")
    wrong = lengths[lengths != expected]
    for line, length in wrong.head(1).items():
        raise DataError(
            source,
            f"line {line}'s number of cells",
            length if length < expected else f"> {expected}",
            f"the header has {expected}: give as many",
        )
