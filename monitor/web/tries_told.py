"""The tries of a run's tasks before their latest: the board keeps their states, the log what was told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from monitor import event_log
from monitor.board import RUNNING, RunName
from monitor.event_log import Filter

MAX_TOLD = 2_000  # of a run's task events, the latest: bounds what one page parses
TASKS = "airflow.task_instance.*"


@dataclass(frozen=True)
class ToldTry:
    """One try that is over."""

    number: int
    state: str
    start: datetime | None
    end: datetime | None
    host: str | None
    error: Mapping[str, Any] | None


Tries = dict[tuple[str, int], list[ToldTry]]
"""By task_id and map_index, the first try first."""


def earlier_tries(connection: Connection, name: RunName, tasks: Sequence[Mapping[str, Any]]) -> Tries:
    """What the log still has of them; it is asked only where some task was tried twice."""
    latest = {
        (task["task_id"], task["map_index"]): task["try_number"] for task in tasks if task["try_number"] > 1
    }
    if not latest:
        return {}
    wanted = Filter.of(type=[TASKS], **{key: [value] for key, value in vars(name).items()})
    found: dict[tuple[str, int, int], ToldTry] = {}
    told = event_log.read_before(
        connection, None, MAX_TOLD, wanted, most_characters=event_log.MAX_PAGE_CHARACTERS
    )
    for logged in reversed(told):
        data = json.loads(logged.body)["data"]
        key = (data["task_id"], data.get("map_index", -1), data["try_number"])
        # A filter reads * and ? in a name as globs; here they are letters.
        is_of_run = (data["dag_id"], data["run_id"]) == (name.dag_id, name.run_id)
        if is_of_run and data["state"] != RUNNING and key[2] < latest.get(key[:2], 0):
            found[key] = _told(data)
    tries: Tries = {}
    for key in sorted(found):
        tries.setdefault(key[:2], []).append(found[key])
    return tries


def _told(data: Mapping[str, Any]) -> ToldTry:
    return ToldTry(
        number=data["try_number"],
        state=data["state"],
        start=_moment(data.get("start_date")),
        end=_moment(data.get("end_date")),
        host=data.get("hostname"),
        error=data.get("error"),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
