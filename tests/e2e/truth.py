"""What Airflow's own database holds, as the ids that the log must hold: the two are compared whole.

A state is known by the thing that is in it (a run's occurrence, a try, an asset event, an import error) and
its name. The same thing may be told in several states, one after the other, and in one state twice, where it
was in another between (set by hand and set back); what it was told to be last must be what it is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from monitor.events.identity import (
    asset_event_id_of,
    earlier_try_id_of,
    import_error_id,
    run_id_of,
    task_id_of,
)
from tests.airflow_server import AirflowServer

RUN_ENDS = ("success", "failed")
TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")
IN_BETWEEN = ("running", "queued")
"""States that end nothing: whether and when they are told is no matter here."""

Alternatives = tuple[str, ...]
"""The ids under which one terminal state may have been told: one of them, once."""

_ID = re.compile(
    r"(?P<thing>import_error:[^:]+:[^:]+|(?:asset_event|asset|asset_alias|run|task|try):[^:]+)(?::(?P<state>[a-z_]+))?(?::\d+)?"
)


@dataclass(frozen=True)
class Ending:
    """One terminal state in Airflow's database."""

    origin: str
    """The DAG it is of; an asset's name for what no DAG did; a file's name for an import error."""
    what: str
    """In words."""
    ids: Alternatives
    moment: datetime | None
    """When it was reached; None where the database does not say."""

    @property
    def thing(self) -> str:
        """What is in this state."""
        return _parts(self.ids[0])[0]

    @property
    def states(self) -> set[str]:
        """What it may have been told to be."""
        return {_parts(event_id)[1] for event_id in self.ids}


def endings(airflow: AirflowServer) -> list[Ending]:
    """Each terminal state in Airflow's database, asset events and import errors among them."""
    sources = (_runs, _tasks, _earlier_tries, _asset_events, _import_errors)
    return [ending for source in sources for ending in source(airflow)]


def terminal_states(airflow: AirflowServer) -> dict[str, Alternatives]:
    """Each terminal state of a run or a task, in words, and how it may be told."""
    return {
        ending.what: ending.ids for source in (_runs, _tasks, _earlier_tries) for ending in source(airflow)
    }


def untold(expected: Iterable[Ending], told: Sequence[str]) -> list[str]:
    """Those that are not told exactly once, in words. `told`: the log's ids, oldest first."""
    return lacking(expected, told) + doubled(expected, told)


def lacking(expected: Iterable[Ending], told: Iterable[str]) -> list[str]:
    """Those that the log lacks, in words."""
    wanted = list(expected)
    last = {thing: states[-1] for thing, states in histories(told, wanted).items()}
    return sorted(
        f"{ending.what}: told last of it: {last.get(ending.thing, 'nothing')}"
        for ending in wanted
        if last.get(ending.thing, "nothing") not in ending.states
    )


def doubled(expected: Iterable[Ending], told: Iterable[str]) -> list[str]:
    """Those of which something was told twice with nothing else between, in words."""
    wanted = list(expected)
    said = histories(told, wanted)
    orders = [(ending, said.get(ending.thing, [])) for ending in wanted]
    return sorted(
        f"{ending.what}: told in this order: {', '.join(states)}"
        for ending, states in orders
        if any(one == following or {one, following} <= ending.states for one, following in pairwise(states))
    )


def histories(told: Iterable[str], expected: Iterable[Ending] = ()) -> dict[str, list[str]]:
    """What each thing was told to be, oldest first; what is expected under whichever of its names."""
    names = {_parts(event_id)[0]: ending.thing for ending in expected for event_id in ending.ids}
    found: dict[str, list[str]] = {}
    for event_id in told:
        thing, state = _parts(event_id)
        if thing and state not in IN_BETWEEN:
            found.setdefault(names.get(thing, thing), []).append(state)
    return found


def plain(event_id: str) -> str:
    """The id without the number of its telling: `run:…:failed:2` is `run:…:failed` once more."""
    return ":".join(part for part in _parts(event_id) if part)


def _parts(event_id: str) -> tuple[str, str]:
    """The thing and its state; both empty for what is neither run, task, asset nor import error."""
    match = _ID.fullmatch(event_id)
    return (match["thing"], match["state"] or "") if match else ("", "")


def _runs(airflow: AirflowServer) -> list[Ending]:
    rows = airflow.query("SELECT dag_id, run_id, start_date, queued_at, end_date, state FROM dag_run")
    return [
        Ending(
            dag,
            f"{dag}/{run} {state}",
            (run_id_of(dag, run, _moment(start), _moment(queued), state),),
            _moment(end),
        )
        for dag, run, start, queued, end, state in rows
        if state in RUN_ENDS
    ]


def _tasks(airflow: AirflowServer) -> list[Ending]:
    rows = airflow.query("SELECT id, state, dag_id, run_id, task_id, map_index, end_date FROM task_instance")
    return [
        Ending(dag, f"{dag}/{run}/{task}[{index}] {state}", (task_id_of(_uuid(ti), state),), _moment(end))
        for ti, state, dag, run, task, index, end in rows
        if state in TASK_ENDS
    ]


def _earlier_tries(airflow: AirflowServer) -> list[Ending]:
    """Airflow files a try that was retried as `failed`; while it was the latest, it was up_for_retry. REST
    shows what is filed without its UUID: where no hook told that, the try is named by its number."""
    rows = airflow.query(
        "SELECT task_instance_id, state, dag_id, run_id, task_id, map_index, try_number, end_date"
        " FROM task_instance_history"
    )
    return [
        Ending(
            dag,
            f"{dag}/{run}/{task}[{index}] try {number} {state}",
            (
                *(task_id_of(_uuid(ti), told) for told in {state, _while_latest(state)}),
                earlier_try_id_of(dag, run, task, index, number, _while_latest(state)),
            ),
            _moment(end),
        )
        for ti, state, dag, run, task, index, number, end in rows
        if state in TASK_ENDS
    ]


def _while_latest(state: str) -> str:
    return "up_for_retry" if state == "failed" else state


def _asset_events(airflow: AirflowServer) -> list[Ending]:
    rows = airflow.query(
        "SELECT event.id, asset.name, event.source_dag_id, event.timestamp"
        " FROM asset_event AS event JOIN asset ON asset.id = event.asset_id"
    )
    return [
        Ending(dag or asset, f"asset event {number} of {asset}", (asset_event_id_of(number),), _moment(at))
        for number, asset, dag, at in rows
    ]


def _import_errors(airflow: AirflowServer) -> list[Ending]:
    """Airflow dates an import error anew at every reparse: when it came about is not known."""
    rows = airflow.query("SELECT filename, stacktrace, bundle_name FROM import_error")
    return [
        # As the reconciler tells it, or as the hook does, which knows the whole path.
        Ending(
            Path(name).name,
            f"import error of {name}",
            (import_error_id(name, trace, bundle), import_error_id(str(airflow.dags_folder / name), trace)),
            None,
        )
        for name, trace, bundle in rows
    ]


def _moment(stored: Any) -> datetime | None:
    """SQLite keeps moments as text without a zone; PostgreSQL answers in the session's zone."""
    if isinstance(stored, datetime):
        return stored.astimezone(timezone.utc)
    return datetime.fromisoformat(stored).replace(tzinfo=timezone.utc) if stored else None


def _uuid(stored: Any) -> str:
    """SQLite keeps UUIDs as text without their hyphens; PostgreSQL answers a UUID."""
    return str(UUID(str(stored)))
