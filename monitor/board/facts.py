"""An event as rules and silences look at it: with what is known of its DAG."""

from collections.abc import Sequence

from sqlalchemy import Connection

from monitor.database.bulk import LookUp
from monitor.database.schema import dags
from monitor.events import Event
from monitor.rules.facts import Facts

_AT = ("deployment", "dag_id")
_DAGS = LookUp(dags, _AT, columns=(*_AT, "tags", "owners"))


def facts_of(connection: Connection, event: Event) -> Facts:
    """With the DAG's tags and owners, where Airflow's list has shown them."""
    return facts_of_all(connection, [event])[0]


def facts_of_all(connection: Connection, events: Sequence[Event]) -> list[Facts]:
    """Of each of these, in their order."""
    names = [(event.deployment, event.dag_id) for event in events]
    found = _DAGS.rows(connection, {name for name in names if name[1]})
    known = {(row["deployment"], row["dag_id"]): row for row in found}
    return [Facts.of(event, known.get(name)) for event, name in zip(events, names, strict=True)]
