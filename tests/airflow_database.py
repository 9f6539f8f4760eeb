"""Airflow's own database for tests, SQLite or PostgreSQL: empty and migrated, and read as the truth."""

import fcntl
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.airflow_environment import AIRFLOW, ENVIRONMENT, REPOSITORY, migration_variables
from tests.postgres_server import programs

Rows = list[tuple[Any, ...]]

MIGRATE_SECONDS = 300.0  # all migrations of an empty database, on a busy machine
RESTORE_SECONDS = 60.0


class AirflowDatabase(Protocol):
    """Where an Airflow keeps its metadata."""

    @property
    def url(self) -> str:
        """What Airflow is told: `sql_alchemy_conn`."""

    def create(self) -> None:
        """Bring the empty database to this Airflow's schema. Slow once an environment, quick from then on."""

    def query(self, sql: str, *parameters: Any) -> Rows:
        """Read it. Placeholders are question marks."""


class SqliteDatabase:
    """A file. Moments are texts without a zone, UUIDs are texts without hyphens."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def create(self) -> None:
        shutil.copyfile(_cached("db", self._template), self.file)

    def _template(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="windsock-airflow-") as home:
            fresh = Path(home) / "airflow.db"
            _migrate(f"sqlite:///{fresh}")
            shutil.copyfile(fresh, target)

    def query(self, sql: str, *parameters: Any) -> Rows:
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(sql, parameters).fetchall()


class PostgresDatabase:
    """A database that is there and empty. Moments are datetimes with a zone, UUIDs are UUIDs."""

    def __init__(self, url: str) -> None:
        """`url`: as SQLAlchemy writes it, whatever the driver."""
        self._address = "postgresql://" + url.partition("://")[2]
        self.url = self._address.replace("postgresql://", "postgresql+psycopg2://")

    def create(self) -> None:
        dump = _cached("sql", self._template)
        if not self.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public' LIMIT 1"):
            self._run("psql", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={dump}")

    def _template(self, target: Path) -> None:
        _migrate(self.url)
        self._run("pg_dump", "--no-owner", "--no-privileges", f"--file={target}")

    def _run(self, program: str, *options: str) -> None:
        folder = programs()
        assert folder is not None, "PostgreSQL's programs are not installed: apt-get install postgresql"
        command = [str(folder / program), f"--dbname={self._address}", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=RESTORE_SECONDS)

    def query(self, sql: str, *parameters: Any) -> Rows:
        statement = sql.replace("%", "%%").replace("?", "%s").encode()
        with psycopg.connect(self._address) as connection:
            return connection.execute(statement, parameters).fetchall()


def _cached(kind: str, make: Callable[[Path], None]) -> Path:
    """A file that holds an empty database of this environment's Airflow, made once an environment."""
    version = (ENVIRONMENT / ".made").stat().st_mtime_ns if (ENVIRONMENT / ".made").exists() else 0
    cache = REPOSITORY / ".windsock" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    template = cache / f"{ENVIRONMENT.name}-{version}.{kind}"
    with (cache / f"{ENVIRONMENT.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            partial = template.with_suffix(".partial")
            make(partial)
            partial.rename(template)
    return template


def _migrate(url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="windsock-airflow-") as home:
        subprocess.run(
            [AIRFLOW, "db", "migrate"],
            env=migration_variables(Path(home), url),
            check=True,
            capture_output=True,
            timeout=MIGRATE_SECONDS,
        )
