"""What a silence would have covered: the last day's events that it takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.errors import EventError
from monitor.event_log import Filter, Logged, Visible
from monitor.events import parse_event
from monitor.rules import Facts
from monitor.silences import SilenceScope
from monitor.web.event_line import EventLine

LOOKED_BACK = timedelta(days=1)
LOOKED_THROUGH = 2_000  # events: some tenths of a second, and a page waits for it
EXAMPLES = 10
IN_SQL = ("deployment", "type", "dag_id", "task_id")
"""Fields that the log itself can search by, as a match does; the others are compared here."""


_Dags = dict[tuple[str, str], Mapping[str, Any] | None]
"""What the board knows of each DAG, looked up once."""


@dataclass(frozen=True)
class Covered:
    number: int
    examples: list[EventLine]
    looked_through: int | None
    """How many of the latest that the log's own search found, where there were more."""


def preview(connection: Connection, scope: SilenceScope, now: datetime, visible: Visible) -> Covered:
    wanted = Filter.of(**{name: getattr(scope.match, name) for name in IN_SQL})
    found, following = event_log.read_page(connection, None, LOOKED_THROUGH, wanted, visible)
    recent = [event for event in found if event.received_at >= now - LOOKED_BACK]
    dags: _Dags = {}
    covered = [event for event in recent if _covers(connection, scope, event, dags)]
    is_cut = following is not None and len(recent) == len(found)
    examples = [EventLine.of(event) for event in covered[:EXAMPLES]]
    return Covered(len(covered), examples, len(found) if is_cut else None)


def _covers(connection: Connection, scope: SilenceScope, logged: Logged, dags: _Dags) -> bool:
    try:
        event = parse_event(json.loads(logged.body))
    except EventError:  # logged by an older monitor, whose shapes were others
        return False
    if not event.dag_id:
        return scope.covers(Facts.of(event, None))
    key = (event.deployment, event.dag_id)
    if key not in dags:  # one look for each DAG, however many events it has
        dags[key] = board.dag(connection, *key)
    return scope.covers(Facts.of(event, dags[key]))
