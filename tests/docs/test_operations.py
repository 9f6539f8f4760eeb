"""docs/operations.md: every command of it, by somebody who copies them, first on SQLite, then on PostgreSQL.

Of its lines only what a reader mends is changed: folders, hosts, the address of the database.
"""

import os
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.docs.page import Shell, commands
from tests.monitor_process import WINDSOCK, MonitorProcess
from tests.postgres_server import PostgresServer, programs

pytestmark = pytest.mark.slow

MOVE = "windsock move"
OF_POSTGRESQL = "$DATABASE"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer("127.0.0.1").start()
    yield server
    server.stop()


def test_every_command_of_the_page_works(server: PostgresServer, tmp_path: Path) -> None:
    moved_to = server.url("windsock")
    mine = {
        "/var/backups": f"{tmp_path}/backups",
        "/var/lib/windsock": f"{tmp_path}/windsock",
        "backup-host:": f"{tmp_path}/",
        "postgresql+psycopg://windsock:password@host/windsock": moved_to,
    }
    for folder in ("windsock/journal", "backups/monitor-2/journal", "backups/monitor-3/journal"):
        (tmp_path / folder).mkdir(parents=True)
    env = environment(server, moved_to, tmp_path)
    blocks = commands("operations.md")
    shell = Shell(tmp_path, tmp_path, env)
    try:
        for block in sorted(blocks, key=lambda block: OF_POSTGRESQL in block):
            shell.run(reduce(lambda told, theirs: told.replace(theirs, mine[theirs]), mine, block))
            if MOVE in block:
                shell.run(f"export WINDSOCK_DATABASE_URL={moved_to}")
    finally:
        shell.close()


def environment(server: PostgresServer, moved_to: str, folder: Path) -> dict[str, str]:
    """An operator's, of a monitor that has been running, and of PostgreSQL's programs."""
    monitor = MonitorProcess(folder).start()
    monitor.stop()
    libpq = make_url(moved_to).set(drivername="postgresql").render_as_string(hide_password=False)
    theirs = {"DATABASE": libpq, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "windsock"}
    return monitor.env | theirs | {"PATH": f"{WINDSOCK.parent}:{programs()}:{os.environ['PATH']}"}
