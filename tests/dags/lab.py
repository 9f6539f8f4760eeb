"""The DAGs on a real Airflow: its metadata database, its execution API, and, for the runs that assets start,
its scheduler's own code. Only the processes around them are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetDagRunQueue, AssetEvent, AssetModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session


class Run(NamedTuple):
    """What became of a DAG run."""

    run_id: str
    state: str
    tasks: dict[str, str]


def read_dags(folder: Path) -> BundleDagBag:
    return BundleDagBag(dag_folder=str(folder), bundle_path=folder, bundle_name="dags-folder")


def forget_all() -> None:
    with create_session() as session:
        for model in (AssetDagRunQueue, AssetEvent, DagRun):
            session.execute(delete(model))


class Lab:
    """Runs the DAGs one after the other, in this process."""

    def __init__(self, bag: BundleDagBag, models_dir: Path) -> None:
        self._bag = bag
        self.models_dir = models_dir

    def train(self) -> Run:
        return self.trigger("Airflow_Lab2")

    def trigger(self, dag_id: str) -> Run:
        """A run by hand, which no asset event has started."""
        run = self._bag.dags[dag_id].test()
        with create_session() as session:
            return _outcome(session, session.merge(run))

    def follow(self, dag_id: str) -> Run | None:
        """The run that the scheduler makes of the asset events that wait for this DAG, or None.

        `dag.test()` cannot run it: it always makes a run of its own.
        """
        with create_session() as session, prohibit_commit(session) as guard:  # type: ignore[no-untyped-call]
            scheduler = SchedulerJobRunner(job=Job())  # type: ignore[no-untyped-call]
            scheduler._create_dagruns_for_dags(guard, session)
        with create_session() as session:
            queued = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.state == DagRunState.QUEUED)
            run = session.scalars(queued).one_or_none()
            return self._work_off(session, run) if run else None

    def _work_off(self, session: Session, run: DagRun) -> Run:
        """The loop of `dag.test()`, on a run that is there already."""
        run.dag = DBDagBag().get_dag_for_run(run, session)
        run.set_state(DagRunState.RUNNING)
        while run.state == DagRunState.RUNNING:
            ready, _ = run.update_state(session=session)
            for instance in ready:
                instance.try_number += 1
                instance.state = TaskInstanceState.SCHEDULED
            session.commit()
            for instance in ready:
                _run_task(ti=instance, task=self._bag.dags[run.dag_id].task_dict[instance.task_id])
            session.expire_all()
        return _outcome(session, run)

    def updates(self, asset: str) -> list[dict[str, Any]]:
        """The extras of an asset's events, oldest first."""
        with create_session() as session:
            events = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            found = session.scalars(events.where(AssetModel.name == asset).order_by(AssetEvent.id))
            return [dict(event.extra) for event in found]

    def rewrite_update(self, asset: str, **columns: object) -> None:
        """Another source for an asset's events than the task that made them."""
        with create_session() as session:
            ids = select(AssetModel.id).where(AssetModel.name == asset).scalar_subquery()
            session.execute(update(AssetEvent).where(AssetEvent.asset_id == ids).values(**columns))


def _outcome(session: Session, run: DagRun) -> Run:
    tasks = {instance.task_id: str(instance.state) for instance in run.get_task_instances(session=session)}
    return Run(run.run_id, str(run.state), tasks)
