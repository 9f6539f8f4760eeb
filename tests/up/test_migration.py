"""Airflow's database is migrated when it must be, and only then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.cli.up.home import Home, open_home
from monitor.cli.up.processes import CannotStart
from monitor.cli.up.stack import needs_migration


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as (opened, _):
        yield opened


def _made_by(home: Home, version: str) -> None:
    home.airflow_database.touch()
    home.airflow_migrated.write_text(version)


def test_a_new_home(home: Home) -> None:
    assert needs_migration(home, "3.3.2")


def test_a_second_start(home: Home) -> None:
    _made_by(home, "3.3.2")
    assert not needs_migration(home, "3.3.2")


def test_a_newer_airflow(home: Home) -> None:
    _made_by(home, "3.3.2")
    assert needs_migration(home, "3.10.0")
    assert home.airflow_database.exists()


def test_an_older_airflow_is_refused(home: Home) -> None:
    _made_by(home, "3.10.0")
    with pytest.raises(CannotStart, match=r"made by Airflow 3\.10\.0, and this is 3\.3\.2"):
        needs_migration(home, "3.3.2")


def test_a_migration_that_was_cut_short_begins_anew(home: Home) -> None:
    leftover = home.airflow_database.with_name("airflow.db-wal")
    home.airflow_database.touch()
    leftover.touch()
    assert needs_migration(home, "3.3.2")
    assert not home.airflow_database.exists()
    assert not leftover.exists()
