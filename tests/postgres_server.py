"""A PostgreSQL server of the tests' own: a fresh cluster in a temporary folder, on a socket in it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import NullPool, create_engine, text

from tests.ports import free_port

Self = TypeVar("Self", bound="PostgresServer")

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

    def __init__(self, host: str = "", durable: bool = False, within: Sequence[str] = ()) -> None:
        """`host`: an address to listen on, at a port of its own, instead of a socket in the file system.
        `durable`: each commit waits for the disk, as in service. `within`: the command that runs its
        programs, such as one that enters a network namespace; root alone can."""
        self._durable = durable
        self._within = [*within, "runuser", "-u"] if within else []
        self.host = host
        self.port = free_port() if host else 5432
        self.folder = Path(tempfile.mkdtemp(prefix="windsock-pg-", dir="/tmp"))
        bin_folder = programs()
        if bin_folder is None:
            raise RuntimeError("PostgreSQL's programs are not installed: apt-get install postgresql")
        self._bin = bin_folder
        self._data, self._kept = self.folder / "data", self.folder / "kept"
        self._user = self._choose_user()

    def _choose_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next(name for name in USERS if name in names)
        shutil.chown(self.folder, user)
        return user

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        inside = [*self._within, str(self._user), "--", *command]  # root enters, and becomes the user there
        subprocess.run(
            inside if self._within else command,
            check=True,
            user=None if self._within else self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    def start(self: Self) -> Self:
        self._make()
        self._begin()
        return self

    def _make(self) -> None:
        """The cluster's files."""
        self._run("initdb", "-D", str(self._data), "-U", "windsock", "-A", "trust", "-E", "UTF8", "-N")
        if self.host:  # initdb lets in this machine alone
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all,replication all samenet trust\n")

    def _begin(self) -> None:
        options = f"-k {self.folder} -h '{self.host}' -p {self.port}" + (
            "" if self._durable else " -c fsync=off"
        )
        self._control("-l", str(self.folder / "log"), "-o", options, "-w", "start")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), *arguments)

    def go_down(self) -> None:
        """Stop as in a crash; what was committed is there when it comes up."""
        self._control("-m", "immediate", "stop")

    def come_up(self) -> None:
        self._begin()

    def snapshot(self) -> None:
        """Keep what is on the disk. It must be down."""
        subprocess.run(["cp", "--archive", self._data, self._kept], check=True, timeout=60)

    def put_back(self) -> None:
        """What `snapshot` kept is on the disk again. It must be down."""
        shutil.rmtree(self._data)
        self._kept.rename(self._data)

    def kill(self) -> None:
        """SIGKILL to every process of it, as when its machine dies. stop() is still called."""
        postmaster = self.process_id
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for number in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):  # a backend may have ended by itself
                os.kill(number, signal.SIGKILL)
        (self._data / "postmaster.pid").unlink()

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.go_down()
        shutil.rmtree(self.folder)

    @property
    def process_id(self) -> int:
        """The postmaster's: each connection's backend is a child of it."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    @property
    def libpq(self) -> str:
        """Where it is, as PostgreSQL's own programs are told."""
        return f"host={self.host or self.folder} port={self.port} user=windsock"

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's address of a database on this server."""
        where = f"{self.host}:{self.port}" if self.host else ""
        socket = "" if self.host else f"?host={self.folder}"
        return f"postgresql+psycopg://windsock@{where}/{database}{socket}"

    def create(self, template: str = "template1") -> str:
        """The address of a new database: an empty one, or a copy of another that nobody is connected to."""
        name = f"windsock_{uuid.uuid4().hex}"
        self.query(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def query(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """A statement in a transaction of its own, as the server's owner."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            found = connection.execute(text(sql))
            return [tuple(row) for row in found] if found.returns_rows else []
