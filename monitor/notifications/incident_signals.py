"""The meaning of an event for an incident (docs/notifications.md).

`signal_of` says whether the event reports that something is wrong, or that it no longer is, by two tables of
event types. `list_overtaken_keys` adds the incidents of watches that a run ends when it begins or ends.
incident_transitions.py acts on both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from monitor.events.event import Event
from monitor.events.identity import DIGEST_DIGITS, digest

LATE, MISSING, STUCK = "windsock.run.late", "windsock.run.missing", "windsock.run.stuck"
SCHEDULED = "scheduled"
"""The type of the runs that answer a DAG's schedule. A triggered run or a backfill does not."""


IMPORT_ERROR = "import_error:"
"""Before the keys of import errors."""
MAX_KEY = 300  # characters: the column's


class Meaning(str, Enum):
    """The meaning of an event for an incident."""

    FAILURE = "failure"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class Signal:
    """The meaning of an event for the incident of this key."""

    meaning: Meaning
    key: str
    title: str
    """The fault in a few words."""


Build = Callable[[Event], tuple[str, str]]
"""An event's key and title."""


def _dag(event: Event) -> tuple[str, str]:
    return f"dag:{event.get('dag_id')}", f"{event.get('dag_id')} fails"


def _task(event: Event) -> tuple[str, str]:
    index = event.get("map_index")
    mapped = "" if index in (None, -1) else f"[{index}]"
    name = f"{event.get('dag_id')}/{event.get('task_id')}{mapped}"
    return f"task:{name}", f"{name} fails"


def _import_error(event: Event) -> tuple[str, str]:
    filename = str(event.get("filename"))
    return import_error_key(event.get("bundle_name"), filename), import_error_title(filename)


def import_error_key(bundle_name: str | None, path: str) -> str:
    """Return the incident key of an import error, by bundle and path within it.
    A hook knows only the whole path. Then incident_transitions.py finds out which file that is."""
    return _bound_key(
        f"{IMPORT_ERROR}{path}" if bundle_name is None else f"{IMPORT_ERROR}{bundle_name}:{path}"
    )


def import_error_title(path: str) -> str:
    """Return the title of an import error's incident."""
    return f"{path} cannot be imported"


def _run_watch(event: Event) -> tuple[str, str]:
    suffix = event.type.rpartition(".")[2]
    return run_watch_key(event.type, event), f"a run of {event.get('dag_id')} is {suffix}"


def run_watch_key(watch: str, event: Event) -> str:
    """Return the incident key of a run's finding.
    A missing run has no name, so the incident is its DAG's, and the moment of the schedule says which run
    answers it (incident_order.py). A late or stuck run has an incident of its own."""
    run = "" if watch == MISSING else f"/{event.get('run_id')}"
    return f"{watch}:{event.get('dag_id')}{run}"


def _asset_watch(event: Event) -> tuple[str, str]:
    suffix = event.type.rpartition(".")[2]
    return f"windsock.asset:{event.asset_uri}", f"{event.asset_uri} is {suffix}"


def _auto_paused(event: Event) -> tuple[str, str]:
    return f"auto_paused:{event.get('dag_id')}", f"{event.get('dag_id')} was paused by Airflow"


def _airflow(event: Event) -> tuple[str, str]:
    return "airflow", f"Airflow {event.deployment} cannot be reached"


def _component(event: Event) -> tuple[str, str]:
    name = str(event.get("component"))
    return f"component:{name}", f"the {name.replace('_', '-')} of Airflow {event.deployment} does not run"


def _mail(_event: Event) -> tuple[str, str]:
    return "mail", "no mail can be sent"


_FAILURES: dict[str, Build] = {
    "airflow.dag_run.failed": _dag,
    "airflow.task_instance.failed": _task,
    "airflow.dag.import_error": _import_error,
    LATE: _run_watch,
    MISSING: _run_watch,
    STUCK: _run_watch,
    "windsock.asset.stale": _asset_watch,
    "windsock.asset.unconsumed": _asset_watch,
    "windsock.dag.auto_paused": _auto_paused,
    "windsock.airflow.unreachable": _airflow,
    "airflow.component.unhealthy": _component,
    "windsock.mail.failing": _mail,
}
_RECOVERIES: dict[str, Build] = {
    "airflow.dag_run.success": _dag,
    "airflow.task_instance.success": _task,
    "airflow.dag.import_error_mended": _import_error,
    "windsock.asset.recovered": _asset_watch,
    "windsock.dag.recovered": _auto_paused,
    "windsock.airflow.recovered": _airflow,
    "airflow.component.recovered": _component,
    "windsock.mail.recovered": _mail,
}
SUCCESSES = ("airflow.dag_run.success", "airflow.task_instance.success")
RUN_BEGINS = "airflow.dag_run.running"
RUN_ENDS = ("airflow.dag_run.success", "airflow.dag_run.failed")


def occasions_of(event_type: str) -> tuple[str, ...]:
    """Return the values of a rule's `notify_on` that events of a type may call for."""
    if event_type in _FAILURES:
        return ("first_failure", "every_failure", "notice")  # notice: an incident knew of it already
    plain = "success" if event_type in SUCCESSES else "notice"
    return ("recovered", plain) if event_type in _RECOVERIES else (plain,)


def signal_of(event: Event) -> Signal | None:
    """Return the event's signal, or None if the event is a notice."""
    if event.get("replaced_by"):  # the file has another error instead
        return None
    for meaning, table in ((Meaning.FAILURE, _FAILURES), (Meaning.RECOVERY, _RECOVERIES)):
        if build := table.get(event.type):
            key, title = build(event)
            return Signal(meaning, _bound_key(key), title)
    return None


def _bound_key(key: str) -> str:
    """Return the key, cut to its bound.
    An asset's URI may be longer. Then a digest of the whole key stands at its end."""
    if len(key) <= MAX_KEY:
        return key
    return f"{key[: MAX_KEY - DIGEST_DIGITS - 1]}:{digest(key)}"


_CHANGING = frozenset((*_FAILURES, *_RECOVERIES, RUN_BEGINS))


def concerns(event_type: str) -> bool:
    """Return True if an event of this type may change any incident at all."""
    return event_type in _CHANGING


def list_incident_keys(event: Event) -> list[str]:
    """Return the keys of all incidents that this event may change."""
    signal = signal_of(event)
    return [*list_overtaken_keys(event), signal.key] if signal else list_overtaken_keys(event)


def list_overtaken_keys(event: Event) -> list[str]:
    """Return the keys of incidents that this event may end without being a recovery.
    A run that begins, begins anew or ends is neither late nor stuck, and a run that the schedule wanted is
    no longer missing."""
    if event.type not in (RUN_BEGINS, *RUN_ENDS):
        return []
    answers = (MISSING,) if event.get("run_type") == SCHEDULED else ()
    return [_bound_key(run_watch_key(watch, event)) for watch in (*answers, LATE, STUCK)]
