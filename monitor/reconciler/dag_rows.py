"""What Airflow's list says of each DAG beside its pause: whose it is, and when it is to run next. Its answer
has the same names in 3.0.2, 3.1.8 and 3.3.2.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from monitor.board import Row
from monitor.errors import EventError
from monitor.events.rest import Row as RestRow
from monitor.events.rest import moment_of
from monitor.events.values import storable

SCHEDULING = ("schedule", "next_run_after", "is_stale")
"""What decides whether a run is due. `seen_at` is when this was last seen to change, or the pause; null where
it is as it was at the first comparison of all."""
DESCRIPTION = ("tags", "owners", "is_partitioned")


def listed(row: RestRow) -> Row:
    """The board's columns of a row of /dags. Raises EventError."""
    summary = row.get("timetable_summary")
    return {
        "tags": [
            storable(str(tag["name"]))
            for tag in _list(row, "tags")
            if isinstance(tag, dict) and "name" in tag
        ],
        # Airflow keeps owners as one text; 3.0 splits it at commas and leaves the spaces.
        "owners": [name for owner in _list(row, "owners") if (name := storable(str(owner)).strip())],
        "schedule": storable(str(summary)) if summary is not None else None,
        "next_run_after": moment_of(row, "next_dagrun_run_after"),
        "is_stale": row.get("is_stale") is True,
        "is_partitioned": row.get("timetable_partitioned") is True,
    }


def changed(
    seen: Mapping[str, Row], paused: Mapping[str, bool], known: Mapping[str, Row], now: datetime
) -> dict[str, Row]:
    """The known DAGs of which the list says something new, as they are to be kept."""
    found: dict[str, Row] = {}
    for dag_id, new in seen.items():
        old = known.get(dag_id)
        if old is None:
            continue
        flipped = paused.get(dag_id, old["is_paused"]) != old["is_paused"]
        rescheduled = flipped or _differ(SCHEDULING, new, old)
        if rescheduled or _differ(DESCRIPTION, new, old):
            is_first = old["is_stale"] is None  # known of events, or from before this was kept
            found[dag_id] = new | {"seen_at": now if rescheduled and not is_first else old["seen_at"]}
    return found


def gone(listed_ids: Collection[str], known: Mapping[str, Row], now: datetime) -> dict[str, Row]:
    """The known DAGs that the list lacks, as they are to be kept: deleted, or not for the monitor's eyes."""
    return {
        dag_id: old | {"is_stale": True, "next_run_after": None, "seen_at": now}
        for dag_id, old in known.items()
        if dag_id not in listed_ids and not (old["is_stale"] and old["next_run_after"] is None)
    }


def _differ(names: tuple[str, ...], new: Row, old: Row) -> bool:
    return any(new[name] != old[name] for name in names)


def _list(row: RestRow, name: str) -> list[object]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise EventError(f"{name}: {str(value)[:80]!r} of the DAG {row.get('dag_id')!r} is not a list")
    return value
