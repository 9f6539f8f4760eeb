"""The queries of deliveries for the pages, the API and the watches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import ColumnElement, Connection, exists, func, not_, or_, select

from monitor.database.schema import decisions, delivery_attempts, notification_incidents, notifications
from monitor.database.schema import deliveries as table
from monitor.database.types import read_each
from monitor.event_log.filters import AllowedDags, readable
from monitor.notifications.outbox.queue import REQUEUED, UNAVAILABLE
from monitor.notifications.outbox.records import AttemptRecord, Delivery, NotificationKind, State
from monitor.rules.targets import ChannelName


@dataclass(frozen=True)
class DeliveryFilter:
    """The filter of deliveries. A field that is None matches all."""

    state: State | None = None
    rule: str | None = None
    channel: ChannelName | None = None
    kind: NotificationKind | None = None
    recipient: str | None = None
    deployment: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    incident_id: int | None = None
    notification_id: int | None = None
    since: datetime | None = None
    """Made at this moment, or later."""
    until: datetime | None = None
    """Made before this moment."""

    def clauses(self) -> Iterator[ColumnElement[bool]]:
        """Yield the filter's conditions as SQL."""
        for name, value in vars(self).items():
            if value is None:
                continue
            if name == "since":
                yield table.c.created_at >= value
            elif name == "until":
                yield table.c.created_at < value
            elif name == "incident_id":
                yield _is_of_incidents([value])
            else:
                yield table.c[name] == (value.value if isinstance(value, Enum) else value)


def _is_of_incidents(ids: Sequence[int]) -> ColumnElement[bool]:
    """Return SQL for deliveries of these incidents.
    The row of a grouped notification names none of its incidents."""
    links = notification_incidents.c
    return table.c.notification_id.in_(select(links.notification_id).where(links.incident_id.in_(ids)))


def deliveries(
    connection: Connection,
    limit: int,
    before: int | None = None,
    delivery_filter: DeliveryFilter | None = None,
    allowed_dags: AllowedDags = None,
) -> list[Delivery]:
    """Return the latest deliveries, newest first. `before` is the last id of the page before."""
    query = select(table).where(*(delivery_filter or DeliveryFilter()).clauses(), *_rights(allowed_dags))
    if before is not None:
        query = query.where(table.c.id < before)
    query = query.order_by(table.c.id.desc()).limit(limit)
    return list(read_each("deliveries", connection.execute(query).mappings(), Delivery.from_row))


def find(connection: Connection, delivery_id: int, allowed_dags: AllowedDags = None) -> Delivery | None:
    """Return a delivery, or None if it does not exist or the reader may not see it."""
    query = select(table).where(table.c.id == delivery_id, *_rights(allowed_dags))
    row = connection.execute(query).mappings().one_or_none()
    return next(read_each("deliveries", [row] if row else [], Delivery.from_row), None)


def _rights(allowed_dags: AllowedDags) -> list[ColumnElement[bool]]:
    """Return the rights as SQL.
    A delivery is for readers of every DAG that it reports, because its subject and text name those DAGs."""
    if allowed_dags is None:
        return []
    has_hidden = exists().where(
        decisions.c.notification_id == table.c.notification_id,
        # An event of no DAG is for those who may read every one.
        or_(
            decisions.c.dag_id.is_(None),
            not_(*readable(decisions.c.deployment, decisions.c.dag_id, allowed_dags)),
        ),
    )
    return [*readable(table.c.deployment, table.c.dag_id, allowed_dags), ~has_hidden]


@dataclass(frozen=True)
class RecipientSummary:
    """The deliveries of one incident to one recipient that are in the same state."""

    incident_id: int
    channel: str
    recipient: str
    state: State
    last_at: datetime
    """The moment at which the last of them was settled, or made if none is settled."""
    first_id: int


def summarize_recipients(
    connection: Connection, incident_ids: Sequence[int], limit: int, allowed_dags: AllowedDags = None
) -> list[RecipientSummary]:
    """Return who is notified of these incidents, the first first, as far as the reader may see it."""
    links, columns = notification_incidents.c, (table.c.channel, table.c.recipient, table.c.state)
    last = func.max(func.coalesce(table.c.settled_at, table.c.created_at))
    first = func.min(table.c.id)
    query = (
        select(links.incident_id, *columns, last, first)
        .select_from(notification_incidents.join(table, table.c.notification_id == links.notification_id))
        .where(links.incident_id.in_(incident_ids), *_rights(allowed_dags))
        .group_by(links.incident_id, *columns)
        .order_by(first)
        .limit(limit)
    )
    rows = (dict(row) for row in connection.execute(query).mappings())
    return list(read_each("deliveries", rows, lambda row: _read_summary(*row.values())))


def _read_summary(
    incident_id: int, channel: str, recipient: str, state: str, last_at: datetime, first_id: int
) -> RecipientSummary:
    """Return the summary of a row. Raises ValueError for a state that this release does not know."""
    return RecipientSummary(incident_id, channel, recipient, State(state), last_at, first_id)


def find_notified_incidents(connection: Connection, incident_ids: Sequence[int]) -> set[int]:
    """Return the incidents among these that any notification was made of, for any reader."""
    links = notification_incidents.c.incident_id
    return set(connection.scalars(select(links).where(links.in_(incident_ids)).distinct()))


def attempt_page(
    connection: Connection, delivery_id: int, limit: int, before: int | None = None
) -> list[tuple[int, AttemptRecord]]:
    """Return the latest attempts at a delivery with their numbers, latest first.
    `before` is the last number of the page before."""
    columns = delivery_attempts.c
    query = select(columns.id, columns.at, columns.outcome, columns.answer).where(
        columns.delivery_id == delivery_id
    )
    if before is not None:
        query = query.where(columns.id < before)
    rows = connection.execute(query.order_by(columns.id.desc()).limit(limit))
    return [(number, AttemptRecord(*values)) for number, *values in rows]


def attempts(connection: Connection, delivery_id: int) -> list[AttemptRecord]:
    """Return the ledger of a delivery, oldest first."""
    columns = delivery_attempts.c
    query = (
        select(columns.at, columns.outcome, columns.answer)
        .where(columns.delivery_id == delivery_id)
        .order_by(columns.id)
    )
    return [AttemptRecord(*row) for row in connection.execute(query)]


def answers(connection: Connection, delivery_ids: Sequence[int]) -> list[str]:
    """Return the answers to the attempts at these deliveries, in no order."""
    columns = delivery_attempts.c
    return list(connection.scalars(select(columns.answer).where(columns.delivery_id.in_(delivery_ids))))


def counts(connection: Connection) -> dict[State, int]:
    """Return the number of deliveries in each state, every state included."""
    query = select(table.c.state, func.count().label("number")).group_by(table.c.state)
    found = {row.state: row.number for row in connection.execute(query)}
    return {state: found.get(state.value, 0) for state in State}


def count_dead(connection: Connection, since: datetime) -> int:
    """Return how many deliveries were given up since then, and have not been sent again."""
    query = select(func.count()).where(table.c.state == State.DEAD.value, table.c.settled_at >= since)
    return int(connection.scalar(query) or 0)


@dataclass(frozen=True)
class OutboxStats:
    """The state of the outbox, for metrics."""

    by_state: Mapping[State, int]
    """The deliveries that wait or need a person. The others may be a million."""
    oldest: Mapping[ChannelName, datetime]
    """The time since which the oldest due delivery of a channel, neither sent nor parked, has been due."""

    @property
    def waiting(self) -> int:
        """The number of deliveries that are neither sent nor given up."""
        return sum(self.by_state[state] for state in (State.PENDING, State.SENDING, State.PARKED))


COUNTED = (State.PENDING, State.SENDING, State.PARKED, State.DEAD, State.UNCERTAIN)


def load_stats(connection: Connection, now: datetime) -> OutboxStats:
    """Count the deliveries and find the oldest due one of each channel."""
    numbers = (
        select(table.c.state, func.count())
        .where(table.c.state.in_([state.value for state in COUNTED]))
        .group_by(table.c.state)
    )
    found = {State(state): number for state, number in connection.execute(numbers)}
    due = (
        select(table.c.channel, func.min(notifications.c.due_at))
        .join(notifications, notifications.c.id == table.c.notification_id)
        .where(table.c.state.in_([State.PENDING.value, State.SENDING.value]), notifications.c.due_at <= now)
        .group_by(table.c.channel)
    )
    channels = {channel.value: channel for channel in ChannelName}
    oldest = {channels[name]: since for name, since in connection.execute(due) if name in channels}
    return OutboxStats({state: found.get(state, 0) for state in COUNTED}, oldest)


LOOKED_THROUGH = 1_000  # attempts, the latest: a server that is away gets a few an hour


@dataclass(frozen=True)
class ChannelOutage:
    """The outage of a channel's server."""

    since: datetime
    error: str
    """The server's last words, or what was found instead of it."""


def find_outage(connection: Connection, channel: ChannelName = ChannelName.EMAIL) -> ChannelOutage | None:
    """Return since when a channel's one server takes nothing, or None if it does or was not asked yet."""
    columns = delivery_attempts.c
    query = (
        select(columns.at, columns.outcome, columns.answer)
        .join(table, table.c.id == columns.delivery_id)
        .where(table.c.channel == channel.value, columns.outcome != REQUEUED)
        .order_by(columns.id.desc())
        .limit(LOOKED_THROUGH)
    )
    found: ChannelOutage | None = None
    for row in connection.execute(query):
        if row.outcome != UNAVAILABLE:
            break
        found = ChannelOutage(row.at, found.error if found else row.answer)
    return found
