"""The facts of a run: its tasks, logs, metrics, parameters and updated assets.

`mask_field`, `mask_value` and `mask_secrets` hide secrets that users give to runs and assets. A value whose
key looks secret is hidden, and so is the user's part of an address. Airflow masks errors and logs by itself,
but not every version masks everything that it should (3.0 does not mask Variables). Errors and logs therefore
lose every value that names itself a secret.

`ask_airflow` asks questions whose answers a mail gains by and does not need. Each question may fail or take
too long, and the mail then goes out with the facts at hand. `load_failed_tasks` and `load_all_tasks` take a
run's tasks from Airflow's list, or else from the projection. Errors come from the log alone, and
`add_log_tail` adds the end of a task's log if no traceback was reported. `updates_of` takes the assets that a
run updated from Airflow if possible, because the log may receive the last update late."""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import dropwhile
from typing import Any, TypeVar

from sqlalchemy import Connection

from monitor.database.engine import Transactions
from monitor.database.statements import Row
from monitor.delivery.confirm import AirflowReader
from monitor.delivery.messages.filters import shorten
from monitor.delivery.messages.model import AssetInfo, Error, Fact, ImportTrouble, Metric, RunInfo, TaskInfo
from monitor.errors import AirflowError
from monitor.event_log import read
from monitor.event_log.filters import UPDATED, AllowedDags, Filter
from monitor.event_log.projections.runs import RunName
from monitor.events.data import MOMENT, AssetUpdatedData, DagRunData, ImportErrorData, TaskInstanceData
from monitor.plain_text import lines

MASK = "***"
# Airflow's own list (its secrets_masker's DEFAULT_SENSITIVE_FIELDS), and a few words that it leaves out.
_SECRET = re.compile(
    r"access_?key|token|api_?key|auth|bearer|connection_?string|conn_?str|dsn|pass(phrase|wd|word)|^pass$|pwd"
    r"|private_?key|proxy|proxies|secret|service_?account|service_?key|keyfile|webhook|credential|cookie|signature",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_KEYED = re.compile(
    r"(?i)(?<![\w-])([\w-]*(?:token|secret|passw(?:or)?d|pwd|api_?key|signature|sig|access_?key)=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^&;,\s)\"']+)"
)


def looks_secret(key: str) -> bool:
    """Return True if a key looks like that of a secret."""
    return _SECRET.search(key.replace("-", "_")) is not None


def mask_value(value: Any) -> str:
    """Return a value as text, without what looks secret in it."""
    masked = _mask_nested(value)
    text = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False, default=str)
    return mask_secrets(text)


def mask_secrets(text: str) -> str:
    """Return a text without passwords in addresses and values of `password=`."""
    return _KEYED.sub(rf"\1{MASK}", _USER_IN_ADDRESS.sub(f"{MASK}@", text))


def mask_field(key: str, value: Any) -> str:
    """Return a field's value as text, masked if its key looks secret."""
    return MASK if looks_secret(key) else mask_value(value)


def _mask_nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): MASK if looks_secret(str(key)) else _mask_nested(inner) for key, inner in value.items()
        }
    return [_mask_nested(inner) for inner in value] if isinstance(value, list | tuple) else value


MAX_METRICS = 6
METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "roc_auc": "ROC AUC",
    "auc": "AUC",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "log_loss": "Log loss",
    "loss": "Loss",
}
"""The numbers in an asset's extra that a mail shows large, by the names that scikit-learn and its kin use."""
UNMOVED = 0.00005  # what four digits do not show


def metrics_of(
    updates: Iterable[AssetUpdatedData], before: Iterable[AssetUpdatedData] = ()
) -> tuple[Metric, ...]:
    """Return the metrics of a run's assets, each once, compared with the last successful run's."""
    now, then = _numbers(updates), _numbers(before)
    names = [key for key in METRICS if key in now][:MAX_METRICS]
    return tuple(
        Metric(METRICS[key], f"{now[key]:.4f}", _format_change(now[key], then[key]) if key in then else "")
        for key in names
    )


def _numbers(updates: Iterable[AssetUpdatedData]) -> dict[str, float]:
    found: dict[str, float] = {}
    for update in updates:
        for key, value in flat(update.extra).items():
            if key in METRICS and isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(key, float(value))
    return found


def _format_change(now: float, then: float) -> str:
    return "as before" if abs(now - then) < UNMOVED else f"{now - then:+.4f}"


def flat(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return an extra whose values under `metrics` stand among the rest."""
    nested = extra.get("metrics")
    if not isinstance(nested, Mapping):
        return dict(extra)
    return {**{key: value for key, value in extra.items() if key != "metrics"}, **nested}


MESSAGE_LENGTH = 600  # characters of an error's message
LINE_LENGTH = 300  # characters of a line of a traceback or log
TRACE_LINES = 20  # the last lines of a traceback: where it broke, and the error
MAX_DETAILS = 12  # of an asset's extra
DETAIL_LENGTH = 160
MAX_TRIGGERED = 10
LAST = datetime.max.replace(tzinfo=timezone.utc)


def run_of(deployment: str, data: DagRunData) -> RunInfo:
    """Return what a message shows of a run."""
    return RunInfo(
        deployment=deployment,
        dag_id=data.dag_id,
        run_id=data.run_id,
        state=data.state,
        run_type=data.run_type,
        logical_date=data.logical_date,
        queued_at=data.queued_at,
        start=data.start_date,
        end=data.end_date,
        message=data.message,
    )


def task_of(row: Mapping[str, Any], projected: Mapping[str, Any] | None = None) -> TaskInfo:
    """Return a task from Airflow's row or the projection's. `projected` is the latter, of the same try."""
    error = (projected or row).get("error")
    return TaskInfo(
        task_id=str(row["task_id"]),
        map_index=int(row.get("map_index", -1)),
        state=str(row.get("state") or "none"),
        try_number=int(row.get("try_number") or 0),
        max_tries=int(row.get("max_tries") or 0),
        operator=row.get("operator"),
        host=row.get("hostname") or None,
        start=MOMENT.validate_python(row.get("start_date")),
        end=MOMENT.validate_python(row.get("end_date")),
        error=error_of(error) if error else None,
    )


def by_end(task: TaskInfo) -> tuple[datetime, str]:
    """Return the sort key by end. The earliest failure is the likeliest cause."""
    return task.end or LAST, task.name


def task_of_event(data: TaskInstanceData) -> TaskInfo:
    """Return the task that an event is about."""
    return task_of({**data.model_dump(exclude={"error"}), "error": data.error and data.error.model_dump()})


def error_of(error: Mapping[str, Any]) -> Error:
    """Return what a message shows of an error."""
    first, *more = [*dropwhile(is_blank, lines(str(error.get("message") or "").strip()))] or [""]
    trace = lines(str(error.get("traceback") or "").rstrip())
    return Error(
        type=shorten(str(error["type"]), DETAIL_LENGTH) if error.get("type") else None,
        message=mask_secrets(first[:MESSAGE_LENGTH]),
        lines=last_lines(fold_frames(trace) if trace else more, TRACE_LINES),
        lines_from="Traceback" if trace else "Message",
    )


_FRAME = re.compile(r'\s+File "([^"]+)", line \d+')
_PACKAGE = re.compile(r"(?:site|dist)-packages/([\w-]+)")
_PYTHON = re.compile(r"/lib/python3[\d.]*/|^<frozen ")
_SOURCE_INDENT = "    "
"""Lines below a frame: its code, and the markers under it."""


def fold_frames(trace: Sequence[str]) -> list[str]:
    """Return a traceback with the author's own frames first and those of libraries as one line.
    The chained tracebacks of one error are folded each by itself. One without own frames stays as it is."""
    folded: list[str] = []
    own: list[str] = []
    libraries: Counter[str] = Counter()
    library_lines: list[str] = []

    def end() -> None:
        if own:
            folded.extend(own)
            counts = (f"{count} frame{'s' * (count > 1)} of {name}" for name, count in libraries.items())
            folded.extend([f"  ({', '.join(counts)})"] if libraries else [])
        else:
            folded.extend(library_lines)
        own.clear()
        libraries.clear()
        library_lines.clear()

    into: list[str] | None = None
    for text in trace:
        if match := _FRAME.match(text):
            library = _library_of(match[1])
            into = library_lines if library else own
            if library:
                libraries[library] += 1
            into.append(text)
        elif into is not None and text.startswith(_SOURCE_INDENT):
            into.append(text)
        else:
            end()
            into = None
            folded.append(text)
    end()
    return folded


def _library_of(path: str) -> str | None:
    """Return the name of the library that a file belongs to, or None if the file is the author's own."""
    if match := _PACKAGE.search(path):
        return "Airflow" if match[1].startswith("airflow") else match[1]
    return "Python" if _PYTHON.search(path) else None


_MEMORY = re.compile(r"out of memory|\boom\b|oom.?kill|memoryerror|exit code 137", re.IGNORECASE)
_KILLED = re.compile(r"SIGKILL|signal[=: ]+-?9\b|exit code -9\b", re.IGNORECASE)


def kill_reason(lines: Iterable[str]) -> str | None:
    """Return why a task was killed, if its log says so."""
    texts = list(lines)
    if any(map(_MEMORY.search, texts)):
        return "Killed: out of memory, says the log"
    return (
        "Killed by SIGKILL, says the log; often for lack of memory"
        if any(map(_KILLED.search, texts))
        else None
    )


def is_blank(text: str) -> bool:
    """Return True if the text has no visible character."""
    return not text.strip()


def trouble_of(data: ImportErrorData) -> ImportTrouble:
    """Return the import error of a file. The trace's last line names the error."""
    trace = [line for line in lines(data.stacktrace.rstrip()) if line.strip()]
    last_line = trace[-1] if trace else ""
    kind, _, message = last_line.partition(": ")
    is_exception_name = kind.isidentifier() or all(part.isidentifier() for part in kind.split("."))
    error = Error(
        type=kind if is_exception_name and message else None,
        message=mask_secrets((message if is_exception_name and message else last_line)[:MESSAGE_LENGTH]),
        lines=last_lines(fold_frames(trace), TRACE_LINES),
        lines_from="Traceback",
    )
    return ImportTrouble(data.filename, data.bundle_name, error)


def last_lines(lines: list[str], number: int) -> tuple[str, ...]:
    """Return the last lines, masked and bounded."""
    return tuple(mask_secrets(line[:LINE_LENGTH]) for line in lines[-number:])


def asset_of(data: AssetUpdatedData) -> AssetInfo:
    """Return an update without its metrics, which are shown once, for the run."""
    extra = {key: value for key, value in flat(data.extra).items() if key not in METRICS}
    source = " / ".join(part for part in (data.source_dag_id, data.source_task_id) if part)
    return AssetInfo(
        name=data.asset.name,
        uri=data.asset.uri,
        details=tuple(
            Fact(shorten(key.replace("_", " "), DETAIL_LENGTH), _short(mask_field(key, extra[key])))
            for key in list(extra)[:MAX_DETAILS]
        ),
        triggered=tuple(f"{run.dag_id} / {run.run_id}" for run in data.created_dagruns[:MAX_TRIGGERED]),
        source=source or None,
    )


def _short(text: str) -> str:
    return shorten(text, DETAIL_LENGTH)


ASK_SECONDS = 20.0  # for each of the few questions: far within the lease

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def ask_airflow(question: Coroutine[Any, Any, T], what: str, seconds: float = ASK_SECONDS) -> T | None:
    """Return Airflow's answer, or None."""
    try:
        return await asyncio.wait_for(question, seconds)
    except (AirflowError, TimeoutError, asyncio.TimeoutError) as error:
        logger.warning("a mail goes out without %s: %s", what, str(error) or type(error).__name__)
    except Exception:  # rows that are not what Airflow's are
        logger.exception("a mail goes out without %s: Airflow's answer makes no sense", what)
    return None


def update_of(row: Mapping[str, Any]) -> AssetUpdatedData:
    """Return an asset event of the REST API as the log has it. Raise ValueError for anything else."""
    asset = {"name": row.get("name") or row.get("uri"), "uri": row.get("uri"), "group": row.get("group")}
    fields = ("timestamp", "extra", "source_dag_id", "source_run_id", "source_task_id", "created_dagruns")
    return AssetUpdatedData.model_validate(
        {
            **{name: row[name] for name in fields if row.get(name) is not None},
            "asset": asset,
            "asset_event_id": row.get("id"),
            "reported_by": "reconciler",
        }
    )


LOGS = 5  # failed tasks whose log is read: the mail shows as many in full
LOG_LINES = 20

ProjectedTasks = Sequence[Row]
"""The projection's tasks of the run."""


async def load_failed_tasks(
    airflow: AirflowReader | None, name: RunName, rows: ProjectedTasks
) -> tuple[TaskInfo, ...]:
    """Return a run's failed tasks, the first failure first, with the ends of their logs."""
    tasks = None
    if airflow is not None:
        tasks = await ask_airflow(_from_airflow(airflow, name, rows, ("failed",)), "failed tasks")
    if tasks is None:
        tasks = [task_of(row) for row in rows if row["state"] == "failed"]
    tasks.sort(key=by_end)
    tasks_with_log = await asyncio.gather(*(add_log_tail(airflow, name, task) for task in tasks[:LOGS]))
    return (*tasks_with_log, *tasks[LOGS:])


async def load_all_tasks(
    airflow: AirflowReader | None, name: RunName, rows: ProjectedTasks
) -> tuple[TaskInfo, ...]:
    """Return a run's tasks in the order of their starts."""
    tasks = None
    if airflow is not None:
        tasks = await ask_airflow(_from_airflow(airflow, name, rows), "tasks")
    if tasks is None:
        tasks = [task_of(row) for row in rows]
    return tuple(sorted(tasks, key=lambda task: (task.start or task.end or LAST, task.name)))


async def _from_airflow(
    airflow: AirflowReader, name: RunName, rows: ProjectedTasks, state: Sequence[str] = ()
) -> list[TaskInfo]:
    return [_merge_row(row, rows) for row in await airflow.task_instances(name.dag_id, name.run_id, state)]


async def add_log_tail(airflow: AirflowReader | None, name: RunName, task: TaskInfo) -> TaskInfo:
    """Return the task with the end of its log, unless a traceback was reported."""
    if airflow is None or (task.error and task.error.lines):
        return task
    lines = await ask_airflow(
        airflow.log_tail(name.dag_id, name.run_id, task.task_id, task.map_index, task.try_number, LOG_LINES),
        f"the log of {task.name}",
    )
    if not lines:
        return task
    error = task.error or Error(None, "")
    reason = kill_reason(lines)
    if reason and not (error.message and _MEMORY.search(error.headline)):
        error = replace(error, message=f"{error.message} ({reason})" if error.message else reason)
    return replace(task, error=replace(error, lines=last_lines(lines, LOG_LINES), lines_from="Log"))


def _merge_row(row: Mapping[str, Any], rows: ProjectedTasks) -> TaskInfo:
    key = ("task_id", "map_index", "try_number")
    same = (other for other in rows if all(other[name] == row.get(name) for name in key))
    return task_of(row, next(same, None))


MAX_UPDATES = 50  # asset events of one run
RECENT = 20  # updates of one asset among which the one before is looked for


async def updates_of(
    database: Transactions, airflow: AirflowReader | None, name: RunName, allowed_dags: AllowedDags = None
) -> list[AssetUpdatedData]:
    """Return a run's asset updates. Airflow is asked for recipients only, `allowed_dags` bounds the log's."""
    if airflow is not None:
        found = await ask_airflow(_updates_from_airflow(airflow, name), f"the asset events of {name.run_id}")
        if found:
            return found
    return await database.read(lambda connection: from_log(connection, name, allowed_dags))


async def _updates_from_airflow(airflow: AirflowReader, name: RunName) -> list[AssetUpdatedData]:
    return [update_of(row) for row in await airflow.asset_events_of(name.dag_id, name.run_id, MAX_UPDATES)]


def from_log(
    connection: Connection, name: RunName, allowed_dags: AllowedDags = None
) -> list[AssetUpdatedData]:
    """Return the asset updates of a run that the log has."""
    event_filter = Filter.from_values(
        type=[UPDATED], deployment=[name.deployment], dag_id=[name.dag_id], run_id=[name.run_id]
    )
    # A filter reads * and ? in a name as globs. Here they are letters.
    return [
        data
        for data in _read(connection, event_filter, MAX_UPDATES, allowed_dags)
        if (data.source_dag_id, data.source_run_id) == (name.dag_id, name.run_id)
    ]


def update_before(
    connection: Connection, deployment: str, data: AssetUpdatedData, allowed_dags: AllowedDags = None
) -> list[AssetUpdatedData]:
    """Return the update of the same asset before this one, or an empty list."""
    event_filter = Filter.from_values(type=[UPDATED], deployment=[deployment], asset=[data.asset.uri])
    earlier = [
        update
        for update in _read(connection, event_filter, RECENT, allowed_dags)
        if update.asset.uri == data.asset.uri
        and update.asset_event_id != data.asset_event_id
        and update.timestamp <= data.timestamp
    ]
    return earlier[-1:]


def _read(
    connection: Connection, event_filter: Filter, limit: int, allowed_dags: AllowedDags
) -> list[AssetUpdatedData]:
    """Return the updates of the log, oldest first."""
    logged = read.read_before(connection, None, limit, event_filter, allowed_dags)
    events = read.parse_each(reversed(logged))
    return [event.data for _, event in events if isinstance(event.data, AssetUpdatedData)]
