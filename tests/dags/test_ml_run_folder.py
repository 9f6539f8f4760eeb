from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.run_folder import MAX_NAME, folder_name, run_folder

# What a database can hold as an id.
identifiers = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=250)


@given(identifiers)
def test_a_name_stays_in_its_folder(identifier: str) -> None:
    name = folder_name(identifier)

    assert len(name.encode()) <= MAX_NAME
    assert set(name).isdisjoint("/\\.:\0 ")


@given(identifiers, identifiers)
def test_two_ids_never_share_a_name(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@pytest.mark.parametrize("filler", ["a", "+", "é"])
def test_long_ids_are_told_apart(filler: str) -> None:
    assert folder_name(filler * 249 + "1") != folder_name(filler * 249 + "2")


def test_a_run_s_folder() -> None:
    assert run_folder(Path("/models"), "Airflow_Lab2", "manual__2026-11-22T10:00:00+00:00") == Path(
        "/models/Airflow_Lab2/manual__2026-11-22T10%3A00%3A00%2B00%3A00"
    )
    assert run_folder(Path("/models"), "..", "../..") == Path("/models/%2E%2E/%2E%2E%2F%2E%2E")


def test_no_id_no_folder() -> None:
    with pytest.raises(ValueError, match="without an id"):
        folder_name("")
