"""The sample messages for previews, one for each template.

`sample` gives the message of a template. `inject_harm` fills every text that users can name with hostile
text, which shows that templates escape it.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TypeVar, cast

from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import (
    AssetInfo,
    Error,
    EventSummary,
    Fact,
    ImportTrouble,
    IncidentInfo,
    MessageContext,
    Metric,
    PastRun,
    RunDifference,
    RunInfo,
    TaskInfo,
    WatchInfo,
)

T = TypeVar("T")

START = datetime(2026, 11, 25, 7, 10, 25, tzinfo=timezone.utc)
END = START + timedelta(minutes=2, seconds=5)
DEPLOYMENT = "production"
DAG = "nightly_sales"
HOSTILE = (
    '<script>alert("1")</script> {{ 7 * 7 }} & \'"><img src=x onerror=alert(1)>',
    "مبيعات_الليل \u202egnp.exe",
    "größe_模型_🚀_" + "ein_sehr_langer_Name_ohne_Leerzeichen_" * 6,
    "x\r\nBcc: evil@example.com",
)
"""HTML and template code, right-to-left text, a long name of wide letters, a header that is none."""

LETTER = Envelope(
    message_id="<windsock.preview@windsock.example.com>",
    recipient="you@example.com",
    rule="failures of production",
    timezone="Europe/Berlin",
    silence_url="https://windsock.example.com/links/silence/preview",
    silence_label="Silence this DAG",
    acknowledge_url="https://windsock.example.com/links/acknowledge/preview",
    unsubscribe_url="https://windsock.example.com/links/unsubscribe/preview",
)
TRACE = (
    "Traceback (most recent call last):",
    '  File "/opt/airflow/dags/sales/transform.py", line 88, in transform',
    '    frame["revenue"] = frame["price"] * frame["quantity"]',
    "  (12 frames of Airflow, 2 frames of pandas)",
    "KeyError: 'quantity'",
)
LOG = (
    "2026-11-25 07:12:21 INFO Reading s3://sales/2026-11-24/part-3.parquet (password=***)",
    "2026-11-25 07:12:29 WARNING 41,022 rows, 12 columns; expected 13",
    "2026-11-25 07:12:30 ERROR Task failed with exception",
)


def sample(template: str, hostile: bool = False) -> tuple[MessageContext, Envelope]:
    """Return the story of a template's preview. An unknown template shows a failed run."""
    message_context = _STORIES.get(template, _STORIES["run_failed"])
    envelope = LETTER
    if template in ("run_failed_again", "recovered", "flapping"):
        envelope = replace(envelope, references=("<windsock.first@windsock.example.com>",), subject=_OPENING)
    return (inject_harm(message_context, HOSTILE), envelope) if hostile else (message_context, envelope)


def _run(state: str = "failed", hours: float = 0) -> RunInfo:
    start = START - timedelta(hours=hours)
    took = timedelta(minutes=2, seconds=5) if state == "failed" else timedelta(minutes=1, seconds=6)
    due = start.replace(minute=10, second=0)
    return RunInfo(
        deployment=DEPLOYMENT,
        dag_id=DAG,
        run_id=f"scheduled__{due:%Y-%m-%dT%H:%M:%S+00:00}",
        state=state,
        run_type="scheduled",
        logical_date=due,
        queued_at=due,
        start=start,
        end=start + took,
        message="task_failure" if state == "failed" else None,
    )


def _task(task_id: str = "transform", map_index: int = 3, error: Error | None = None) -> TaskInfo:
    return TaskInfo(
        task_id=task_id,
        map_index=map_index,
        state="failed",
        try_number=3,
        max_tries=2,
        operator="PythonOperator",
        host="worker-7.airflow.internal",
        start=START + timedelta(seconds=12),
        end=END,
        error=error or Error("KeyError", "'quantity'", TRACE, "Traceback"),
    )


def _past(signs: str) -> tuple[PastRun, ...]:
    last = len(signs) - 1
    return tuple(
        PastRun(
            run_id=f"scheduled__{number}",
            state="success" if sign == "✓" else "failed",
            start=START - timedelta(hours=last - number),
            duration=timedelta(seconds=66 + (number * 37) % 29 + (60 if sign == "✗" else 0)),
            is_this=number == last,
        )
        for number, sign in enumerate(signs)
    )


def _happenings(count: int) -> tuple[EventSummary, ...]:
    return tuple(
        EventSummary(
            event_id=f"run:{number}:failed",
            type="airflow.dag_run.failed",
            at=END - timedelta(hours=count - 1 - number),
            subject=DAG,
            what="failed at transform[3]: KeyError: 'quantity'",
            mark="✗",
            run=_run("failed", hours=count - 1 - number),
        )
        for number in range(count)
    )


def _digest() -> tuple[EventSummary, ...]:
    subjects = (DAG, "Airflow_Lab2", "release")
    return tuple(
        replace(
            summary,
            subject=(subject := subjects[number % 3]),
            mark="✓" if number % 3 else "✗",
            what="succeeded" if number % 3 else summary.what,
            run=replace(summary.run, dag_id=subject) if summary.run else None,
        )
        for number, summary in enumerate(_happenings(14))
    )


_OPENING = "nightly_sales · transform[3] · KeyError: 'quantity'"
_GOOD = _run("success", hours=4)
_CHANGES = (
    RunDifference("Took", timedelta(minutes=1, seconds=6), timedelta(minutes=2, seconds=5), "×1.9"),
    RunDifference("DAG version", "7", "8"),
    RunDifference("conf.date", "2026-11-24", "2026-11-25"),
    RunDifference("conf.api_token", "***", "***", "changed"),
    RunDifference("conf.full", None, "true", "new"),
)
_FAILED = MessageContext(
    event_id="run:ffa50b9e9505a8dec8cedcb4d5b3c409:failed",
    event_type="airflow.dag_run.failed",
    deployment=DEPLOYMENT,
    subject=f"{DAG}/{_run().run_id}",
    at=END,
    run=_run(),
    failed=(_task(), _task("load_prices", -1, Error(None, "", LOG, "Log"))),
    incident=IncidentInfo(41, f"{DAG} fails", 1, END, END),
    last_good=_GOOD,
    changes=_CHANGES,
    history=_past("✓✓✓✓✓✗✓✓✓✓✓✓✓✓✓✗"),
)
_LONG = IncidentInfo(41, f"{DAG} fails", 4, END - timedelta(hours=3), END)
_METRICS = (
    Metric("Accuracy", "0.9825", "+0.0043"),
    Metric("ROC AUC", "0.9954", "-0.0002"),
    Metric("F1", "0.9861", "+0.0031"),
)
_MODEL = AssetInfo(
    "model.pkl",
    "x-windsock://models/model.pkl",
    (Fact("rows", "569"), Fact("training rows", "455"), Fact("sha256", "9f86d081884c7d65" * 4)),
    ("release / asset_triggered__2026-11-25T07:12:31",),
    "Airflow_Lab2 / build_model",
)
_TRAINING = replace(_run("success"), dag_id="Airflow_Lab2", run_id="manual__2026-11-25T07:10:25+00:00")
_SUCCESS = MessageContext(
    event_id="run:0c1d:success",
    event_type="airflow.dag_run.success",
    deployment=DEPLOYMENT,
    subject="Airflow_Lab2/manual__2026-11-25T07:10:25+00:00",
    at=END,
    kind="success",
    run=_TRAINING,
    tasks=tuple(
        replace(_task(name, -1), state="success", error=None, end=START + timedelta(seconds=14 + number))
        for number, name in enumerate(("owner_task", "load_data", "build_model", "load_model", "send_email"))
    ),
    metrics=_METRICS,
    assets=(_MODEL,),
    changes=(RunDifference("Took", timedelta(seconds=71), timedelta(seconds=66), "×0.9"),),
    history=_past("✓✓✓✗✓✓✓✓✓✓"),
)

_STORIES = {
    "run_failed": _FAILED,
    "run_failed_again": replace(
        _FAILED,
        kind="follow_up",
        failed=_FAILED.failed[:1],
        incident=_LONG,
        events=_happenings(3),
        history=_past("✓✓✓✓✓✗✓✓✓✓✓✓✗✗✗✗"),
    ),
    "recovered": replace(
        _FAILED,
        event_id="run:ffa5:success",
        event_type="airflow.dag_run.success",
        kind="recovered",
        run=_run("success"),
        failed=(),
        incident=replace(
            _LONG,
            closed_at=END,
            acknowledged_by="alice",
            acknowledged_reason="the supplier's export lacks a column",
            assignee="alice",
        ),
        changes=(RunDifference("DAG version", "7", "9"),),
        history=_past("✓✓✓✓✓✗✓✓✓✓✓✗✗✗✗✓"),
    ),
    "flapping": replace(
        _FAILED,
        kind="flapping",
        failed=_FAILED.failed[:1],
        incident=replace(_LONG, openings=6),
        history=_past("✓✗✓✗✓✓✗✓✗✓✗✓✓✗✓✗"),
    ),
    "run_success": _SUCCESS,
    "task_failed": replace(
        _FAILED,
        event_id="task:01936a5e-0000-7000-8000-000000000003:failed",
        event_type="airflow.task_instance.failed",
        task=_task(),
        failed=(),
        incident=IncidentInfo(42, f"{DAG}/transform fails", 1, END, END),
        changes=(),
    ),
    "import_error": MessageContext(
        event_id="import_error:74bbf9c43bcf63cfd993ebfe7de699db:b0668720a4a32bd5a94420434b1315f6",
        event_type="airflow.dag.import_error",
        deployment=DEPLOYMENT,
        subject="/opt/airflow/dags/sales/nightly.py",
        at=END,
        incident=IncidentInfo(43, "nightly.py cannot be imported", 1, END, END),
        import_error=ImportTrouble(
            "/opt/airflow/dags/sales/nightly.py",
            "dags-folder",
            Error(
                "ModuleNotFoundError",
                "No module named 'sales.prices'",
                (
                    "Traceback (most recent call last):",
                    '  File "/opt/airflow/dags/sales/nightly.py", line 4, in <module>',
                    "    from sales.prices import read",
                    "ModuleNotFoundError: No module named 'sales.prices'",
                ),
                "Traceback",
            ),
        ),
    ),
    "asset_updated": replace(
        _SUCCESS,
        event_id="asset_event:42",
        event_type="airflow.asset.updated",
        kind="notice",
        subject=_MODEL.uri,
        tasks=(),
        changes=(),
        history=(),
    ),
    "watch": MessageContext(
        event_id="late:nightly_sales:2026-11-25T07:00:00Z",
        event_type="windsock.run.late",
        deployment=DEPLOYMENT,
        subject=DAG,
        at=END,
        run=replace(_run("running"), end=None, message=None),
        watch=WatchInfo(
            what=f"The 08:10 run of {DAG} has not ended; it usually has by 08:12.",
            kind="late",
            since=END - timedelta(minutes=20),
            name="sales by eight",
            facts=(Fact("Usual", timedelta(seconds=66)), Fact("Bound", timedelta(minutes=15))),
        ),
        incident=IncidentInfo(44, f"a run of {DAG} is late", 1, END, END),
        last_good=_GOOD,
        history=tuple(replace(run, is_this=False) for run in _past("✓✓✓✓✓✗✓✓✓✓✓✓✓✓")),
    ),
    "notice": MessageContext(
        event_id="dag:7d5:paused",
        event_type="airflow.dag.paused",
        deployment=DEPLOYMENT,
        subject=DAG,
        at=END,
        kind="notice",
        facts=(Fact("DAG", DAG), Fact("State", "paused")),
    ),
    "digest": MessageContext(
        event_id="run:0c1d:success",
        event_type="airflow.dag_run.success",
        deployment=DEPLOYMENT,
        subject="digest",
        at=END,
        kind="digest",
        events=_digest(),
        earlier=12,
    ),
}


def inject_harm(value: T, harm: Sequence[str], name: str = "") -> T:
    """Return the same record with harm in every text that users can name."""
    if isinstance(value, str) and name not in _OURS:
        return cast(T, harm[len(value) % len(harm)])
    if isinstance(value, tuple):
        return cast(T, tuple(inject_harm(item, harm) for item in value))
    if is_dataclass(value) and not isinstance(value, type):
        found = {
            field.name: inject_harm(getattr(value, field.name), harm, field.name) for field in fields(value)
        }
        return replace(value, **found)
    return value


_OURS = ("kind", "event_type", "type", "state", "mark", "deployment", "run_type", "lines_from")
"""The fields that users cannot name."""
