"""The scoring DAG: what the champion says of every row."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from assets import CHAMPION, OWNER
from ml import settings
from models import models_dir

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

DOC = """
### Score with the champion

Starts when `release` has promoted a model, or by hand. Predicts every row of the CSV with the champion of
that moment and writes `predictions.csv` into the run's own folder under `WINDSOCK_MODELS_DIR`.
"""
TASK_LIMIT = timedelta(minutes=10)  # it takes seconds; a hung disk must not hold a slot
PREDICTIONS_FILE = "predictions.csv"


def score(ti: RuntimeTaskInstanceProtocol) -> dict[str, Any]:
    """Predict every row of the CSV; the file is there whole or not at all."""
    from ml import artefact, atomic, champion
    from ml.errors import ArtefactError
    from ml.load import load
    from ml.place import told
    from ml.predict import predictions
    from ml.preprocess import preprocess
    from ml.run_folder import run_folder

    models = models_dir(os.environ)
    released = champion.current(models)
    if released is None:
        raise ArtefactError(f"{models} has no champion: trigger the training DAG, and release promotes one")
    csv = settings.training_csv(os.environ)
    table = preprocess(load(csv), str(csv))
    folder = run_folder(models, ti.dag_id, ti.run_id)
    lines = predictions(artefact.read(released, within=models), table)
    atomic.write(folder, {PREDICTIONS_FILE: lines})
    return {
        "path": told(folder / PREDICTIONS_FILE),
        "rows": len(table),
        "model_sha256": released["model"]["sha256"],
    }


with DAG(
    dag_id="scoring",
    description="Predict every row with the champion",
    doc_md=DOC,
    schedule=[CHAMPION],
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,  # of two runs only the newer champion's predictions matter
    default_args={"owner": OWNER, "retries": 0, "execution_timeout": TASK_LIMIT},
    tags=["windsock", "scoring"],
):
    PythonOperator(task_id="score", python_callable=score)
