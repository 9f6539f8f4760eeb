"""An event as rules and silences look at it: with what is known of its DAG."""

from sqlalchemy import Connection

from monitor.board.dags import dag
from monitor.events import Event
from monitor.rules.facts import Facts


def facts_of(connection: Connection, event: Event) -> Facts:
    """With the DAG's tags and owners, where Airflow's list has shown them."""
    known = dag(connection, event.deployment, event.dag_id) if event.dag_id else None
    return Facts.of(event, known)
