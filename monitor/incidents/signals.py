"""What an event says of an incident: something is wrong, or no longer is (docs/notifications.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from monitor.events import Event
from monitor.events.identity import DIGEST_DIGITS, digest


class Meaning(str, Enum):
    FAILURE = "failure"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class Signal:
    """What an event means for the incident of this key."""

    meaning: Meaning
    key: str
    title: str
    """What is wrong, in a few words."""


Build = Callable[[Event], tuple[str, str]]
"""An event's key and title."""


def _dag(event: Event) -> tuple[str, str]:
    return f"dag:{event.get('dag_id')}", f"{event.get('dag_id')} fails"


def _task(event: Event) -> tuple[str, str]:
    name = f"{event.get('dag_id')}/{event.get('task_id')}"
    return f"task:{name}", f"{name} fails"


def _import_error(event: Event) -> tuple[str, str]:
    # The base name: a hook knows the whole path, REST the path inside its bundle.
    name = str(event.get("filename")).rpartition("/")[2]
    return f"import_error:{name}", f"{name} cannot be imported"


def _run_watch(event: Event) -> tuple[str, str]:
    word = event.type.rpartition(".")[2]
    return f"{event.type}:{event.get('dag_id')}", f"a run of {event.get('dag_id')} is {word}"


def _asset_watch(event: Event) -> tuple[str, str]:
    word = event.type.rpartition(".")[2]
    return f"windsock.asset:{event.asset_uri}", f"{event.asset_uri} is {word}"


def _auto_paused(event: Event) -> tuple[str, str]:
    return f"auto_paused:{event.get('dag_id')}", f"{event.get('dag_id')} was paused by Airflow"


def _airflow(event: Event) -> tuple[str, str]:
    return "airflow", f"Airflow {event.deployment} cannot be reached"


def _mail(_event: Event) -> tuple[str, str]:
    return "mail", "no mail can be sent"


_FAILURES: dict[str, Build] = {
    "airflow.dag_run.failed": _dag,
    "airflow.task_instance.failed": _task,
    "airflow.dag.import_error": _import_error,
    "windsock.run.late": _run_watch,
    "windsock.run.missing": _run_watch,
    "windsock.run.stuck": _run_watch,
    "windsock.asset.stale": _asset_watch,
    "windsock.asset.unconsumed": _asset_watch,
    "windsock.dag.auto_paused": _auto_paused,
    "windsock.airflow.unreachable": _airflow,
    "windsock.mail.failing": _mail,
}
_RECOVERIES: dict[str, Build] = {
    "airflow.dag_run.success": _dag,
    "airflow.task_instance.success": _task,
    "airflow.dag.import_error_mended": _import_error,
    "windsock.asset.recovered": _asset_watch,
    "windsock.dag.recovered": _auto_paused,
    "windsock.airflow.recovered": _airflow,
    "windsock.mail.recovered": _mail,
}
MAX_KEY = 300  # characters: the column's
_BEGIN_WATCHES = ("windsock.run.missing", "windsock.run.late")
_END_WATCHES = ("windsock.run.stuck",)
RUN_BEGINS = "airflow.dag_run.running"
RUN_ENDS = ("airflow.dag_run.success", "airflow.dag_run.failed")


def signal_of(event: Event) -> Signal | None:
    """None where the event is neither: it is a notice."""
    for meaning, table in ((Meaning.FAILURE, _FAILURES), (Meaning.RECOVERY, _RECOVERIES)):
        if build := table.get(event.type):
            key, title = build(event)
            return Signal(meaning, _bounded(key), title)
    return None


def _bounded(key: str) -> str:
    """An asset's URI may be longer than a key: then its end is a digest of the whole."""
    if len(key) <= MAX_KEY:
        return key
    return f"{key[: MAX_KEY - DIGEST_DIGITS - 1]}:{digest(key)}"


_CHANGING = frozenset((*_FAILURES, *_RECOVERIES, RUN_BEGINS))


def concerns(event_type: str) -> bool:
    """Whether an event of this type may change any incident at all."""
    return event_type in _CHANGING


def concerned(event: Event) -> list[str]:
    """The keys of all incidents that this event may change."""
    signal = signal_of(event)
    return [*overtaken_by(event), signal.key] if signal else overtaken_by(event)


def overtaken_by(event: Event) -> list[str]:
    """The keys of incidents that this event ends though it tells of no recovery of them: a run that begins is
    neither missing nor late, and one that ends is not stuck."""
    if event.type not in (RUN_BEGINS, *RUN_ENDS):
        return []
    # A run by hand is not the one that is missing or late (docs/watches.md).
    begins = () if event.get("run_type") == "manual" else _BEGIN_WATCHES
    ends = _END_WATCHES if event.type in RUN_ENDS else ()
    return [_bounded(f"{kind}:{event.get('dag_id')}") for kind in (*begins, *ends)]
