from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.datasets import load_breast_cancer

from ml.errors import DataError
from ml.load import MAX_BYTES, MAX_COLUMNS, load
from ml.preprocess import MIN_ROWS_PER_CLASS, preprocess
from ml.schema import COLUMNS, FEATURES, TARGET
from ml.settings import BUNDLED_CSV
from tests.dags.csv_files import Lines, changed_csv, drop_column, keep_class, set_cell


def read(path: Path) -> pd.DataFrame:
    return preprocess(load(path), str(path))


def test_the_bundled_csv_is_the_data_set_to_the_last_digit(table: pd.DataFrame) -> None:
    original = load_breast_cancer()

    assert original.feature_names.tolist() == FEATURES
    assert table[FEATURES].to_numpy().tolist() == original.data.tolist()
    assert table[TARGET].tolist() == original.target.tolist()
    assert table.index.tolist() == list(range(2, 571))


def test_columns_are_found_by_name(tmp_path: Path, table: pd.DataFrame) -> None:
    def reverse(lines: Lines) -> None:
        for number, line in enumerate(lines):
            line.reverse()
            line.insert(0, "note" if number == 0 else "")

    assert_frame_equal(read(changed_csv(tmp_path / "reversed.csv", reverse)), table)


def test_what_a_spreadsheet_writes_is_read(tmp_path: Path, table: pd.DataFrame) -> None:
    """A byte order mark, CRLF and quotes."""
    path = tmp_path / "exported.csv"
    with BUNDLED_CSV.open(newline="") as source, path.open("w", newline="", encoding="utf-8-sig") as target:
        csv.writer(target, quoting=csv.QUOTE_ALL).writerows(csv.reader(source))

    assert_frame_equal(read(path), table)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_lines_are_counted_as_an_editor_does(tmp_path: Path, end: str) -> None:
    """Also behind quoted cells that go over several lines, the header's among them."""
    path = tmp_path / "notes.csv"
    rows = [["of the\nfirst", *COLUMNS], ["two\nlines", *["1"] * 31], ["", *["1"] * 31]]
    text = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    path.write_bytes(text.replace("\n", end).encode())

    assert load(path).index.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (drop_column("worst area"), "column 'worst area'", "missing"),
        (set_cell(1, "worst area", "mean area"), "column 'mean area'", "repeated"),
        (lambda lines: lines[3].pop(), "line 4's number of cells", 30),
        (lambda lines: lines[3].append("1"), "line 4's number of cells", "> 31"),
        (lambda lines: lines[3].extend(["1", "2"]), "line 4's number of cells", "> 31"),
        (lambda lines: lines.insert(2, []), "line 3's number of cells", 0),
        (lambda lines: lines.__delitem__(slice(1, None)), "number of rows", 0),
        (lambda lines: lines.insert(0, []), "column 'mean radius'", "missing"),
        (lambda lines: lines.clear(), "size", "0 bytes"),
    ],
)
def test_a_table_that_is_not_whole(
    tmp_path: Path, change: Callable[[Lines], object], field: str, value: object
) -> None:
    path = changed_csv(tmp_path / "broken.csv", change)

    with pytest.raises(DataError) as caught:
        load(path)

    assert (caught.value.source, caught.value.field, caught.value.value) == (str(path), field, value)
    assert str(caught.value) == f"{path}: {field} is {value!r}: {caught.value.remedy}"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"mean radius\xff", "byte 11"),
        (b'mean radius,"\n', "content"),
        (b'mean radius\n"1"2\n', "content"),
        ("ü".encode() * MAX_BYTES, "size"),
        (b"," * MAX_COLUMNS, "number of columns"),
    ],
    ids=["not UTF-8", "an open quote", "text behind a quote", "too large", "too wide"],
)
def test_a_file_that_is_no_csv(tmp_path: Path, content: bytes, field: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        load(path)

    assert caught.value.field == field


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: file is 'No such file.*WINDSOCK_TRAINING_CSV"):
        load(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (set_cell(569, "mean area", " "), "line 569, column 'mean area'", ""),
        (set_cell(7, "mean area", "n/a"), "line 7, column 'mean area'", "n/a"),
        (set_cell(7, "mean area", "inf"), "line 7, column 'mean area'", "inf"),
        (set_cell(7, "mean area", "nan"), "line 7, column 'mean area'", "nan"),
        (set_cell(7, "mean area", "1,001.5"), "line 7, column 'mean area'", "1,001.5"),
        (set_cell(7, "mean area", "1_001"), "line 7, column 'mean area'", "1_001"),
        (set_cell(7, "mean area", "1e999"), "line 7, column 'mean area'", "1e999"),
        (set_cell(7, "mean area", "1\n2"), "line 7, column 'mean area'", "1\n2"),
        (set_cell(7, "mean area", "True"), "line 7, column 'mean area'", "True"),
        (set_cell(7, "target", "2"), "line 7, column 'target'", "2"),
        (set_cell(7, "target", "0.5"), "line 7, column 'target'", "0.5"),
        (set_cell(7, "target", "benign"), "line 7, column 'target'", "benign"),
        (keep_class("0"), "number of rows with target 1 (benign)", 0),
        (keep_class("1"), "number of rows with target 0 (malignant)", 0),
    ],
)
def test_cells_that_are_no_data(
    tmp_path: Path, change: Callable[[Lines], object], field: str, value: object
) -> None:
    path = changed_csv(tmp_path / "broken.csv", change)

    with pytest.raises(DataError) as caught:
        read(path)

    assert (caught.value.source, caught.value.field, caught.value.value) == (str(path), field, value)


def test_a_nul_is_no_number(tmp_path: Path) -> None:
    """Python 3.10's csv module refuses it, and cannot write it; later ones hand it on."""
    path = tmp_path / "broken.csv"
    path.write_bytes(BUNDLED_CSV.read_bytes().replace(b",1001.0,", b",1001.0\0,", 1))

    with pytest.raises(DataError, match=r"NULL byte detected|line 2, column 'mean area' is '1001.0\\x00'"):
        read(path)


def test_the_first_wrong_cell_is_named(tmp_path: Path) -> None:
    def spoil(lines: Lines) -> None:
        for line, column in ((9, "mean radius"), (8, "worst area"), (8, "mean area")):
            set_cell(line, column, "?")(lines)

    with pytest.raises(DataError, match="line 8, column 'mean area'"):
        read(changed_csv(tmp_path / "broken.csv", spoil))


def test_the_smallest_table_has_both_classes_on_both_sides() -> None:
    from ml.split import split

    rows = [["1"] * len(FEATURES) + [target] for target in ("0", "1") for _ in range(MIN_ROWS_PER_CLASS)]
    smallest = pd.DataFrame(rows, columns=COLUMNS)
    parts = split(preprocess(smallest, "smallest.csv"))

    assert sorted(parts.held_out[TARGET]) == [0, 1]
    with pytest.raises(DataError, match=f"give at least {MIN_ROWS_PER_CLASS} rows of each class"):
        preprocess(smallest.iloc[1:], "too_small.csv")
