"""Gather what a mail tells: the events, what the log knows of them, and what Airflow adds."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from monitor.database.engine import Database
from monitor.delivery.confirm import Airflow
from monitor.delivery.messages.content import Known, Told, begun, known_of
from monitor.delivery.messages.event_summaries import facts_of, watch_of
from monitor.delivery.messages.facts import (
    all_tasks,
    asked,
    asset_of,
    failed_tasks,
    metrics_of,
    run_of,
    told_task,
    trouble_of,
    updates_of,
    with_log,
)
from monitor.delivery.messages.model import Asset, Error, ImportTrouble, Run, Story
from monitor.delivery.messages.run_history import (
    ASKED,
    ASKED_STATES,
    History,
    PastRun,
    changes_of,
    from_airflow,
)
from monitor.event_log.filters import Visible
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
from monitor.notifications.outbox.records import Kind


async def tell(
    database: Database,
    airflow: Airflow | None,
    told: Told,
    read: Known | None = None,
    visible: Visible = None,
) -> Story:
    """The story of a notification. `airflow` is None where there is none or where it cannot be asked; `read`,
    where the database is still to be; `visible` is what somebody who is not the recipient may read."""
    known = (
        await database.read(lambda connection: known_of(connection, told, visible)) if read is None else read
    )
    story = begun(told, known)
    lead = told.lead
    if lead is None or told.notification.kind is Kind.DIGEST:
        return story
    match lead.data:
        case DagRunData():
            run = run_of(lead.deployment, lead.data)
            return await _run(database, airflow, story, run, known, visible)
        case TaskInstanceData():
            return await _task(airflow, story, lead.data, known)
        case ImportErrorData():
            return replace(story, import_error=trouble_of(lead.data))
        case ImportErrorMendedData():
            mended = ImportTrouble(lead.data.filename, lead.data.bundle_name, Error(None, ""))
            return replace(story, import_error=mended)
        case AssetUpdatedData():
            return _asset(story, lead.data, known)
        case WatchData():
            return await _watch(airflow, story, lead, lead.data, known)
    return replace(story, facts=facts_of(lead.data))


async def _run(
    database: Database, airflow: Airflow | None, story: Story, run: Run, known: Known, visible: Visible
) -> Story:
    """The story of a run's end."""
    name = RunName(run.deployment, run.dag_id, run.run_id)
    comparing = _compared(airflow, story, run, known)
    if run.state == "failed":
        compared, failed = await asyncio.gather(comparing, failed_tasks(airflow, name, known.tasks))
        return replace(compared, failed=failed)
    if story.kind == Kind.RECOVERED.value:
        return await comparing
    compared, tasks, updates = await asyncio.gather(
        comparing, all_tasks(airflow, name, known.tasks), updates_of(database, airflow, name, visible)
    )
    before: Sequence[AssetUpdatedData] = ()
    if metrics_of(updates) and (good := compared.last_good):
        good_name = RunName(good.deployment, good.dag_id, good.run_id)
        before = await updates_of(database, airflow, good_name, visible)
    assets = tuple(asset_of(update) for update in updates)
    return replace(compared, tasks=tasks, metrics=metrics_of(updates, before), assets=assets)


async def _task(airflow: Airflow | None, story: Story, data: TaskInstanceData, known: Known) -> Story:
    name = RunName(story.deployment, data.dag_id, data.run_id)
    row = known.run
    run = Run(story.deployment, data.dag_id, data.run_id, row["state"] if row else "running")
    if row:
        run = replace(run, start=row["start_date"], queued_at=row["queued_at"], end=row["end_date"])
    compared, task = await asyncio.gather(
        _compared(airflow, story, run, known), with_log(airflow, name, told_task(data))
    )
    return replace(compared, task=task)


def _asset(story: Story, data: AssetUpdatedData, known: Known) -> Story:
    run = None
    if data.source_dag_id and data.source_run_id:
        run = Run(story.deployment, data.source_dag_id, data.source_run_id, "")
    return replace(story, run=run, assets=(asset_of(data),), metrics=metrics_of([data], known.before))


async def _watch(airflow: Airflow | None, story: Story, lead: Event, data: WatchData, known: Known) -> Story:
    asset = lead.get("asset")
    watch = watch_of(lead, data)
    told = replace(story, watch=watch, facts=facts_of(data))
    if asset is not None:
        return replace(told, assets=(Asset(asset.name, asset.uri),))
    dag_id = lead.get("dag_id")
    if not dag_id or not lead.type.startswith("windsock.run."):
        return told
    run = Run(
        story.deployment,
        dag_id,
        lead.get("run_id") or "",
        "running",
        run_type=lead.get("run_type"),
        queued_at=lead.get("queued_at"),
        start=lead.get("start_date"),
    )
    compared = await _compared(airflow, told, run, known)
    return replace(compared, changes=(), unlisted_changes=0)


async def _compared(airflow: Airflow | None, story: Story, run: Run, known: Known) -> Story:
    """The story of a run with how it went lately, and what is otherwise than in the last good one."""
    story = replace(story, run=run)
    until = run.start or run.queued_at or story.at
    if until is None:
        return story
    runs = None
    if airflow is not None:
        runs = await asked(_from_airflow(airflow, run, until), f"the recent runs of {run.dag_id}")
    history = History.of(known.runs if runs is None else runs, run, until)
    good = history.last_good
    # A run as its event tells it has its end; as a list of a moment ago has it, it may still run.
    this = replace(history.this, run=run) if history.this else None
    changes, more = changes_of(this, good) if this and good else ((), 0)
    return replace(
        story,
        last_good=good.run if good else None,
        changes=changes,
        unlisted_changes=more,
        history=history.chart(run),
    )


async def _from_airflow(airflow: Airflow, run: Run, until: datetime) -> list[PastRun]:
    """Airflow's list; the last good run too, where it is longer ago."""
    rows = await airflow.runs_of(run.dag_id, until, ASKED_STATES, ASKED)
    if not any(row.get("state") == "success" for row in rows):
        rows = [*rows, *await airflow.runs_of(run.dag_id, until, ("success",), 1)]
    return from_airflow(run.deployment, rows)
