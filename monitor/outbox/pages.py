"""What pages, the API and metrics read of the outbox."""

from sqlalchemy import Connection, func, select

from monitor.board import RunName
from monitor.database.schema import deliveries as table
from monitor.database.schema import delivery_attempts
from monitor.event_log import Visible, readable
from monitor.outbox.record import Attempt, Delivery
from monitor.outbox.state import State


def deliveries(
    connection: Connection,
    limit: int,
    before: int | None = None,
    state: State | None = None,
    dag_id: str | None = None,
    run: RunName | None = None,
    visible: Visible = None,
) -> list[Delivery]:
    """The latest deliveries, newest first; `before` is the last id of the page before."""
    query = select(table).where(*readable(table.c.deployment, table.c.dag_id, visible))
    if before is not None:
        query = query.where(table.c.id < before)
    if state is not None:
        query = query.where(table.c.state == state.value)
    if dag_id is not None:
        query = query.where(table.c.dag_id == dag_id)
    if run is not None:
        query = query.where(*(table.c[name] == value for name, value in vars(run).items()))
    query = query.order_by(table.c.id.desc()).limit(limit)
    return [Delivery.of(row) for row in connection.execute(query).mappings()]


def find(connection: Connection, delivery_id: int, visible: Visible = None) -> Delivery | None:
    """One delivery, or None where there is none or the reader may not see it."""
    query = select(table).where(
        table.c.id == delivery_id, *readable(table.c.deployment, table.c.dag_id, visible)
    )
    row = connection.execute(query).mappings().one_or_none()
    return Delivery.of(row) if row else None


def attempts(connection: Connection, delivery_id: int) -> list[Attempt]:
    """The ledger of one delivery, oldest first."""
    columns = delivery_attempts.c
    query = (
        select(columns.at, columns.outcome, columns.answer)
        .where(columns.delivery_id == delivery_id)
        .order_by(columns.id)
    )
    return [Attempt(*row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[State, int]:
    """How many deliveries are in each state, each state named."""
    found = {
        State(row.state): row.number
        for row in connection.execute(
            select(table.c.state, func.count().label("number")).group_by(table.c.state)
        )
    }
    return {state: found.get(state, 0) for state in State}


def waiting(connection: Connection) -> int:
    """How many deliveries are neither sent nor given up."""
    states = [State.PENDING.value, State.SENDING.value, State.PARKED.value]
    query = select(func.count()).select_from(table).where(table.c.state.in_(states))
    return connection.execute(query).scalar_one()
