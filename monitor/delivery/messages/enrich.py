"""The gathering of a message's content: its events, the log's data about them, and Airflow's details.

Airflow is asked through facts.py, where each question may fail. A task's log is read by `log_tail` in
airflow/client.py and cut by airflow/task_logs.py.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from monitor.database.engine import Transactions
from monitor.delivery.confirm import AirflowReader
from monitor.delivery.messages.content import (
    ContentData,
    NotificationContent,
    build_base_context,
    load_content_data,
)
from monitor.delivery.messages.event_summaries import facts_of, watch_of
from monitor.delivery.messages.facts import (
    add_log_tail,
    ask_airflow,
    asset_of,
    load_all_tasks,
    load_failed_tasks,
    metrics_of,
    run_of,
    task_of_event,
    trouble_of,
    updates_of,
)
from monitor.delivery.messages.model import AssetInfo, Error, ImportTrouble, MessageContext, RunInfo
from monitor.delivery.messages.run_history import (
    ASKED,
    ASKED_STATES,
    RunDetails,
    RunHistory,
    changes_of,
    from_airflow,
)
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections.runs import RunName
from monitor.events.data import (
    AssetUpdatedData,
    DagRunData,
    ImportErrorData,
    ImportErrorMendedData,
    TaskInstanceData,
    WatchData,
)
from monitor.events.event import Event
from monitor.notifications.outbox.records import NotificationKind


async def build_message_context(
    database: Transactions,
    airflow: AirflowReader | None,
    content: NotificationContent,
    read: ContentData | None = None,
    allowed_dags: AllowedDags = None,
) -> MessageContext:
    """Collect what the message of a notification shows.

    - `airflow`: None if no Airflow is set, or if it cannot be asked.
    - `read`: None if the database is still to be read.
    - `allowed_dags`: the rights of a reader who is not the recipient."""
    content_data = (
        await database.read(lambda connection: load_content_data(connection, content, allowed_dags))
        if read is None
        else read
    )
    message_context = build_base_context(content, content_data)
    lead = content.lead
    if lead is None or content.notification.kind is NotificationKind.DIGEST:
        return message_context
    match lead.data:
        case DagRunData():
            run = run_of(lead.deployment, lead.data)
            return await _run(database, airflow, message_context, run, content_data, allowed_dags)
        case TaskInstanceData():
            return await _task(airflow, message_context, lead.data, content_data)
        case ImportErrorData():
            return replace(message_context, import_error=trouble_of(lead.data))
        case ImportErrorMendedData():
            mended = ImportTrouble(lead.data.filename, lead.data.bundle_name, Error(None, ""))
            return replace(message_context, import_error=mended)
        case AssetUpdatedData():
            return _asset(message_context, lead.data, content_data)
        case WatchData():
            return await _watch(airflow, message_context, lead, lead.data, content_data)
    return replace(message_context, facts=facts_of(lead.data))


async def _run(
    database: Transactions,
    airflow: AirflowReader | None,
    message_context: MessageContext,
    run: RunInfo,
    content_data: ContentData,
    allowed_dags: AllowedDags,
) -> MessageContext:
    """Add what a message about a run's end shows."""
    name = RunName(run.deployment, run.dag_id, run.run_id)
    comparing = _add_comparison(airflow, message_context, run, content_data)
    if run.state == "failed":
        compared, failed = await asyncio.gather(
            comparing, load_failed_tasks(airflow, name, content_data.tasks)
        )
        return replace(compared, failed=failed)
    if message_context.kind == NotificationKind.RECOVERED.value:
        return await comparing
    compared, tasks, updates = await asyncio.gather(
        comparing,
        load_all_tasks(airflow, name, content_data.tasks),
        updates_of(database, airflow, name, allowed_dags),
    )
    before: Sequence[AssetUpdatedData] = ()
    if metrics_of(updates) and (good := compared.last_good):
        good_name = RunName(good.deployment, good.dag_id, good.run_id)
        before = await updates_of(database, airflow, good_name, allowed_dags)
    assets = tuple(asset_of(update) for update in updates)
    return replace(compared, tasks=tasks, metrics=metrics_of(updates, before), assets=assets)


async def _task(
    airflow: AirflowReader | None,
    message_context: MessageContext,
    data: TaskInstanceData,
    content_data: ContentData,
) -> MessageContext:
    name = RunName(message_context.deployment, data.dag_id, data.run_id)
    row = content_data.run
    run = RunInfo(message_context.deployment, data.dag_id, data.run_id, row["state"] if row else "running")
    if row:
        run = replace(run, start=row["start_date"], queued_at=row["queued_at"], end=row["end_date"])
    compared, task = await asyncio.gather(
        _add_comparison(airflow, message_context, run, content_data),
        add_log_tail(airflow, name, task_of_event(data)),
    )
    return replace(compared, task=task)


def _asset(
    message_context: MessageContext, data: AssetUpdatedData, content_data: ContentData
) -> MessageContext:
    run = None
    if data.source_dag_id and data.source_run_id:
        run = RunInfo(message_context.deployment, data.source_dag_id, data.source_run_id, "")
    return replace(
        message_context, run=run, assets=(asset_of(data),), metrics=metrics_of([data], content_data.before)
    )


async def _watch(
    airflow: AirflowReader | None,
    message_context: MessageContext,
    lead: Event,
    data: WatchData,
    content_data: ContentData,
) -> MessageContext:
    asset = lead.get("asset")
    watch = watch_of(lead, data)
    watch_message = replace(message_context, watch=watch, facts=facts_of(data))
    if asset is not None:
        return replace(watch_message, assets=(AssetInfo(asset.name, asset.uri),))
    dag_id = lead.get("dag_id")
    if not dag_id or not lead.type.startswith("windsock.run."):
        return watch_message
    run = RunInfo(
        message_context.deployment,
        dag_id,
        lead.get("run_id") or "",
        "running",
        run_type=lead.get("run_type"),
        queued_at=lead.get("queued_at"),
        start=lead.get("start_date"),
    )
    compared = await _add_comparison(airflow, watch_message, run, content_data)
    return replace(compared, changes=(), unlisted_changes=0)


async def _add_comparison(
    airflow: AirflowReader | None, message_context: MessageContext, run: RunInfo, content_data: ContentData
) -> MessageContext:
    """Add how the run's DAG went lately, and the differences from the last successful run."""
    message_context = replace(message_context, run=run)
    until = run.start or run.queued_at or message_context.at
    if until is None:
        return message_context
    runs = None
    if airflow is not None:
        runs = await ask_airflow(_from_airflow(airflow, run, until), f"the recent runs of {run.dag_id}")
    history = RunHistory.build(content_data.runs if runs is None else runs, run, until)
    good = history.last_good
    # An event's run has an end. A list of a moment ago may show the same run as running.
    this = replace(history.this, run=run) if history.this else None
    changes, more = changes_of(this, good) if this and good else ((), 0)
    return replace(
        message_context,
        last_good=good.run if good else None,
        changes=changes,
        unlisted_changes=more,
        history=history.chart(run),
    )


async def _from_airflow(airflow: AirflowReader, run: RunInfo, until: datetime) -> list[RunDetails]:
    """Read Airflow's list of runs, and the last good run if it is further back."""
    rows = await airflow.runs_of(run.dag_id, until, ASKED_STATES, ASKED)
    if not any(row.get("state") == "success" for row in rows):
        rows = [*rows, *await airflow.runs_of(run.dag_id, until, ("success",), 1)]
    return from_airflow(run.deployment, rows)
