"""The release DAG: a trained model becomes the champion, or does not."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from assets import CHAMPION, MODEL, OWNER, SCALER, SPLIT_TASK_ID, TRAINING_DAG_ID, TRAINING_TASK_ID
from models import models_dir

if TYPE_CHECKING:
    from airflow.sdk.types import OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol
    from pandas import DataFrame

    from ml.candidate import Candidate, Update

log = logging.getLogger(__name__)

DOC = """
### Release a model

Starts when a training run has updated `model.pkl` and `scaler.pkl`. Checks both files against the sha256 of
their asset events before unpickling them, scores candidate and champion on the candidate's held-out rows, and
promotes the candidate unless its ROC AUC is lower. Then `promote` is skipped and the champion stays.

Training runs that end before the scheduler has looked queue one release between them, for the first of them:
Airflow hands the events of the others to the next release, which takes the newest.

Triggered by hand it fails: a release needs the asset events of a training run.
"""
TASK_LIMIT = timedelta(minutes=10)  # each takes seconds; a hung disk must not hold the only run's slot


def pick_candidate(triggering_asset_events: Any) -> Candidate:
    """The newest training run that has updated both assets."""
    from ml.candidate import newest

    return newest(
        _updates(triggering_asset_events.get(MODEL, ())),
        _updates(triggering_asset_events.get(SCALER, ())),
        TRAINING_DAG_ID,
        TRAINING_TASK_ID,
    )


def _updates(events: Sequence[Any]) -> list[Update]:
    from ml.candidate import Update

    return [
        Update(event.source_dag_id, event.source_task_id, event.source_run_id, event.timestamp, event.extra)
        for event in events
    ]


def compare_with_champion(ti: RuntimeTaskInstanceProtocol) -> dict[str, Any]:
    """Candidate and champion on the rows that the candidate's training held out, and the decision."""
    from ml import artefact, champion
    from ml.compare import compare
    from ml.evaluate import scores

    models = models_dir(os.environ)
    candidate: Candidate = ti.xcom_pull(task_ids="pick_candidate")
    challenger = artefact.read(candidate["artefacts"], within=models)
    held_out = _held_out_rows(ti, candidate["run_id"])
    incumbent = champion.current(models)
    if incumbent is not None and not artefact.loadable(incumbent):
        log.warning("The champion was pickled by another scikit-learn and cannot be compared: %s", incumbent)
        incumbent = None
    facts = scores(challenger, held_out)
    rival = scores(artefact.read(incumbent, within=models), held_out) if incumbent else None
    return {**facts, "champion": rival, **compare(facts, rival)}


def _held_out_rows(ti: RuntimeTaskInstanceProtocol, training_run_id: str) -> DataFrame:
    """From the training run itself: the CSV may be another one by now."""
    from ml.errors import CandidateError
    from ml.frames import numbers

    parts = ti.xcom_pull(dag_id=TRAINING_DAG_ID, run_id=training_run_id, task_ids=SPLIT_TASK_ID)
    if parts is None:
        raise CandidateError(
            f"run {training_run_id} of {TRAINING_DAG_ID} has no held-out rows left: it was cleared or "
            f"deleted; trigger {TRAINING_DAG_ID} anew"
        )
    return numbers(parts["held_out"])


def promote(ti: RuntimeTaskInstanceProtocol, outlet_events: OutletEventAccessorsProtocol) -> dict[str, Any]:
    """Make the candidate the champion, or skip: a skipped task updates no asset."""
    from ml import champion

    candidate: Candidate = ti.xcom_pull(task_ids="pick_candidate")
    verdict = ti.xcom_pull(task_ids="compare_with_champion")
    if not verdict["promote"]:
        raise AirflowSkipException(f"The champion stays: {verdict['reason']}")
    facts = {
        **{name: verdict[name] for name in ("accuracy", "roc_auc", "f1", "reason")},
        "training_run_id": candidate["run_id"],
    }
    released = champion.promote(models_dir(os.environ), ti.run_id, candidate["artefacts"], facts)
    promoted: dict[str, Any] = {**facts, **released}
    outlet_events[CHAMPION].extra = promoted
    return promoted


with DAG(
    dag_id="release",
    description="Compare a newly trained model with the champion, and promote or keep",
    doc_md=DOC,
    schedule=MODEL & SCALER,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,  # compare and promote are two steps: no other release may come between them
    default_args={"owner": OWNER, "retries": 0, "execution_timeout": TASK_LIMIT},
    tags=["windsock", "release"],
):
    pick, decide = (
        PythonOperator(task_id=step.__name__, python_callable=step)
        for step in (pick_candidate, compare_with_champion)
    )
    pick >> decide >> PythonOperator(task_id="promote", python_callable=promote, outlets=[CHAMPION])
