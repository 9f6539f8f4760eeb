"""The migration of the database to the schema of this release, forward only.

`migrate` is safe at each start and from several processes at once, because an advisory lock admits one of
them. `migrate_patiently` also waits for a database that is still starting.
"""

import logging
from pathlib import Path
from zlib import crc32

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from monitor.database.engine import Database
from monitor.errors import SettingsError

SCRIPTS = Path(__file__).parent / "migrations"
LOCK = crc32(b"windsock migrations")
"""The advisory lock of a migration. Replicas that start together migrate once."""
LOCK_TIMEOUT = "60s"
"""The time that a change of a table waits for readers, while all others wait behind it. After that it is
given up, and the next start tries again."""
PATIENCE = 60.0  # seconds that a start waits for a database which starts too, or is failing over
LONGEST_WAIT = 5.0  # seconds between two looks
UPGRADES_OLDER = "commit 7fd9ba9"
"""The last Windsock with each single migration, none of which was in a release."""

logger = logging.getLogger(__name__)


def migrate(database: Database) -> None:
    """Apply the missing migrations. Safe to run at each start, and from several processes at once.

    Raise SettingsError if the database has a revision that this release does not know, because going on
    would lose data. Raise OperationalError if the database does not answer.
    """
    config = _config()

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            _take_the_turn(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        database.write_now(upgrade)
    except CommandError as error:
        raise SettingsError(f"WINDSOCK_DATABASE_URL: {_explain(database, error)}") from error


def _explain(database: Database, error: CommandError) -> str:
    found, head = versions(database)
    if found and head and found < head:
        bases = sorted(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())
        return (
            f"the database has schema {found}, and this release upgrades from {', '.join(bases[:-1])}. Run "
            f"`windsock migrate` of {UPGRADES_OLDER} on it first, or begin with a new database."
        )
    return (
        f"the database has a schema that this release does not know ({error}). "
        "It was written by a newer Windsock: run that release, or restore a backup."
    )


def migrate_patiently(database: Database, patience: float = PATIENCE) -> None:
    """Migrate, and retry while the database starts too. Raises as `migrate`, after `patience` seconds."""
    retrying = Retrying(
        retry=retry_if_exception_type(OperationalError),
        stop=stop_after_delay(patience),
        wait=wait_exponential(multiplier=0.2, max=LONGEST_WAIT),
        before_sleep=_say,
        reraise=True,
    )
    retrying(migrate, database)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    reason = str(getattr(error, "orig", error)).strip()
    logger.warning("the database does not answer yet, trying again: %s", reason)


def _take_the_turn(connection: Connection) -> None:
    """Wait until no other replica migrates.
    The lock ends with the transaction. A migration may take its time."""
    for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {setting} = 0")
    if not connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).scalar_one():
        logger.info("another replica migrates the database; waiting for it")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


def versions(database: Database) -> tuple[str | None, str | None]:
    """Return the database's schema version and this release's."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    found = database.read_now(
        lambda connection: MigrationContext.configure(connection).get_current_revision()
    )
    return found, head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config
