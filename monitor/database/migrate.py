"""Bring the database to the schema of this release, forward only."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from monitor.database.engine import Database
from monitor.errors import SettingsError

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Apply what is missing. Safe to run at each start and from several processes in turn.

    Raises SettingsError where the database was written by a newer release: going on would lose what this
    one does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))

    def upgrade(connection: object) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        database.write_now(upgrade)
    except CommandError as error:
        raise SettingsError(
            f"WINDSOCK_DATABASE_URL: the database has a schema that this release does not know ({error}). "
            "It was written by a newer Windsock: run that release, or restore a backup."
        ) from error


def versions(database: Database) -> tuple[str | None, str | None]:
    """The database's schema version and this release's."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    head = ScriptDirectory.from_config(config).get_current_head()
    found = database.read_now(
        lambda connection: MigrationContext.configure(connection).get_current_revision()
    )
    return found, head
