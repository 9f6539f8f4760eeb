"""A PostgreSQL server of the tests' own: a fresh cluster on a socket in a temporary folder, no TCP port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

USERS = ("postgres", "nobody")  # it refuses to run as root


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, the newest version installed, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """start() … url(database) … stop()."""

    def __init__(self, durable: bool = False) -> None:
        """`durable`: each commit waits for the disk, as in service."""
        self._durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="windsock-pg-", dir="/tmp"))
        bin_folder = programs()
        if bin_folder is None:
            raise RuntimeError("PostgreSQL's programs are not installed: apt-get install postgresql")
        self._bin = bin_folder
        self._user = self._choose_user()

    def _choose_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next(name for name in USERS if name in names)
        shutil.chown(self.folder, user)
        return user

    def _run(self, *command: str) -> None:
        subprocess.run(
            command, check=True, user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=60
        )

    def start(self) -> "PostgresServer":
        data = str(self.folder / "data")
        self._run(str(self._bin / "initdb"), "-D", data, "-U", "windsock", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-k {self.folder} -h ''" + ("" if self._durable else " -c fsync=off")
        self._run(
            str(self._bin / "pg_ctl"),
            "-D",
            data,
            "-l",
            str(self.folder / "log"),
            "-o",
            options,
            "-w",
            "start",
        )
        return self

    def stop(self) -> None:
        self._run(str(self._bin / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    @property
    def process_id(self) -> int:
        """The postmaster's: each connection's backend is a child of it."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def create(self, name: str) -> str:
        """A new database; answers its address."""
        admin = create_engine(self.url(), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return self.url(name)

    def restart(self) -> None:
        """As after a crash: every connection is cut, and it begins with recovery."""
        data = str(self.folder / "data")
        self._run(
            str(self._bin / "pg_ctl"),
            "-D",
            data,
            "-l",
            str(self.folder / "log"),
            "-m",
            "immediate",
            "-w",
            "restart",
        )

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's address of a database on this server."""
        return f"postgresql+psycopg://windsock@/{database}?host={self.folder}"
