"""What the board forgets by age: runs that are over, with their tasks and tries; assets; mended files.

How old a row is its `last_seq` tells (event_log.seq_by). The board is kept at least as long as the log
(settings.py): while a row is here, a second word on the same end is known for what it is (tries.py,
last_words.py), and once it is gone, everything that the reconciler finds of it is older than what is told.
"""

from sqlalchemy import ColumnElement, Connection, Table, and_, exists

from monitor.board.states import OVER
from monitor.database.schema import assets, dag_runs, import_errors, task_instances, tries, watch_findings
from monitor.database.sweep import Key, Swept, oldest, walk


def forget_runs(connection: Connection, upto: int) -> Swept:
    """Runs that have ended. One that still runs, or waits, is kept however long it does."""
    old = dag_runs.c.last_seq <= upto, dag_runs.c.state.in_(OVER)
    return oldest(connection, dag_runs, dag_runs.c.last_seq, *old)


def forget_tasks(connection: Connection, upto: int, after: Key) -> Swept:
    """Tasks whose run is forgotten. They are not deleted with it: a run may have ten thousand."""
    return walk(connection, task_instances, after, _is_orphan(task_instances, upto))


def forget_tries(connection: Connection, upto: int, after: Key) -> Swept:
    """The same of their tries."""
    return walk(connection, tries, after, _is_orphan(tries, upto))


def forget_assets(connection: Connection, upto: int) -> Swept:
    """Assets that nobody has updated, but for those of which a watch says that it is so."""
    is_open = exists().where(
        watch_findings.c.deployment == assets.c.deployment,
        watch_findings.c.subject == assets.c.uri,
        watch_findings.c.ended_at.is_(None),
    )
    return oldest(connection, assets, assets.c.last_seq, assets.c.last_seq <= upto, ~is_open)


def forget_import_errors(connection: Connection, upto: int, after: Key) -> Swept:
    """Those that are mended."""
    old = (import_errors.c.last_seq <= upto) & ~import_errors.c.open
    return walk(connection, import_errors, after, old)


def _is_orphan(table: Table, upto: int) -> ColumnElement[bool]:
    run = (table.c[name] == dag_runs.c[name] for name in ("deployment", "dag_id", "run_id"))
    return and_(table.c.last_seq <= upto, ~exists().where(*run))
