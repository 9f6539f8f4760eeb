"""What the database and the monitors hold when all is done, read for the verdict."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from monitor.database.schema import dag_runs, events, task_instances
from tests.scale.fleet import Fleet
from tests.scale.slow_writer import SLOW
from tests.scale.told import TASKS, Told
from tests.scale.verdict import Books

OWN = ("windsock.", "airflow.component.")
"""How the types of events begin that monitors tell themselves."""

_LOG = select(events.c.seq, events.c.id, events.c.type, events.c.received_at).order_by(events.c.seq)


def books(fleet: Fleet, sent: Told, held: Iterable[str] = (), counted: bool = True) -> Books:
    """`held`: the ids that the slow writer logged. `counted=False`: a monitor died, its counts with it."""
    with fleet.engine.connect() as connection:
        log = connection.execute(_LOG).all()
        board, tasks = _runs(connection), _tasks(connection)
    accepted = fleet.counted("windsock_events_total", result="accepted") if counted else None
    ends = Counter(sent.runs.values())
    return Books(
        sent=sent.ids | set(held) | {row.id for row in log if row.type.startswith(OWN)},
        log=[(row.seq, row.id) for row in log],
        received=[row.received_at for row in log],
        last_seq=fleet.log_state().last_seq,
        accepted=None if accepted is None else accepted + len(set(held)),
        runs=sent.runs,
        board=board,
        tasks=tasks,
        tasks_sent=Counter(success=len(sent.runs) * TASKS - ends["failed"], failed=ends["failed"]),
    )


def _runs(connection: Connection) -> dict[tuple[str, str], str]:
    shown = select(dag_runs.c.dag_id, dag_runs.c.run_id, dag_runs.c.state)
    rows = connection.execute(shown.where(~dag_runs.c.dag_id.startswith(SLOW)))
    return {(row.dag_id, row.run_id): row.state for row in rows}


def _tasks(connection: Connection) -> Counter[str]:
    shown = select(task_instances.c.state, func.count().label("number"))
    theirs = shown.where(~task_instances.c.dag_id.startswith(SLOW)).group_by(task_instances.c.state)
    return Counter({row.state: row.number for row in connection.execute(theirs)})
