"""Rows of the board and of Airflow's REST answers as the facts of a mail, bounded in number and length."""

from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import dropwhile
from typing import Any

from monitor.delivery.masks import shown_under, without_secrets
from monitor.delivery.metrics import METRICS, flat
from monitor.events.data import AssetUpdatedData, DagRunData, ImportErrorData, TaskInstanceData
from monitor.events.values import MOMENT
from monitor.plain_text import lines
from monitor.render import Asset, Error, Fact, ImportTrouble, Run, Task
from monitor.render.words import shortened

MESSAGE_LENGTH = 600  # characters of an error's message
LINE_LENGTH = 300  # characters of a line of a traceback or log
TRACE_LINES = 20  # the last lines of a traceback: where it broke, and the error
MAX_DETAILS = 12  # of an asset's extra
DETAIL_LENGTH = 160
MAX_TRIGGERED = 10
LAST = datetime.max.replace(tzinfo=timezone.utc)


def run_of(deployment: str, data: DagRunData) -> Run:
    return Run(
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


def task_of(row: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Task:
    """A task from Airflow's row or the board's; `known` is the board's row of the same try."""
    error = (known or row).get("error")
    return Task(
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


def by_end(task: Task) -> tuple[datetime, str]:
    """The earliest failure first: it is the likeliest cause."""
    return task.end or LAST, task.name


def told_task(data: TaskInstanceData) -> Task:
    """The task that an event is about."""
    return task_of({**data.model_dump(exclude={"error"}), "error": data.error and data.error.model_dump()})


def error_of(error: Mapping[str, Any]) -> Error:
    first, *more = [*dropwhile(is_blank, lines(str(error.get("message") or "").strip()))] or [""]
    trace = lines(str(error.get("traceback") or "").rstrip())
    return Error(
        type=shortened(str(error["type"]), DETAIL_LENGTH) if error.get("type") else None,
        message=without_secrets(first[:MESSAGE_LENGTH]),
        lines=last_lines(trace or more, TRACE_LINES),
        lines_from="Traceback" if trace else "Message",
    )


def is_blank(text: str) -> bool:
    return not text.strip()


def trouble_of(data: ImportErrorData) -> ImportTrouble:
    """What Airflow says of a file; the trace's last line names the error."""
    trace = [line for line in lines(data.stacktrace.rstrip()) if line.strip()]
    said = trace[-1] if trace else ""
    kind, _, message = said.partition(": ")
    named = kind.isidentifier() or all(part.isidentifier() for part in kind.split("."))
    error = Error(
        type=kind if named and message else None,
        message=without_secrets((message if named and message else said)[:MESSAGE_LENGTH]),
        lines=last_lines(trace, TRACE_LINES),
        lines_from="Traceback",
    )
    return ImportTrouble(data.filename, data.bundle_name, error)


def last_lines(shown: list[str], number: int) -> tuple[str, ...]:
    return tuple(without_secrets(line[:LINE_LENGTH]) for line in shown[-number:])


def asset_of(data: AssetUpdatedData) -> Asset:
    """What an update says, without the metrics: those are told once, for the run."""
    extra = {key: value for key, value in flat(data.extra).items() if key not in METRICS}
    source = " / ".join(part for part in (data.source_dag_id, data.source_task_id) if part)
    return Asset(
        name=data.asset.name,
        uri=data.asset.uri,
        details=tuple(
            Fact(shortened(key.replace("_", " "), DETAIL_LENGTH), _short(shown_under(key, extra[key])))
            for key in list(extra)[:MAX_DETAILS]
        ),
        triggered=tuple(f"{run.dag_id} / {run.run_id}" for run in data.created_dagruns[:MAX_TRIGGERED]),
        source=source or None,
    )


def _short(text: str) -> str:
    return shortened(text, DETAIL_LENGTH)
