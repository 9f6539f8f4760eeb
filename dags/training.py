"""The training DAG. What is heavy is imported inside the tasks: this file is parsed again and again."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from assets import MODEL, OWNER, SCALER, SPLIT_TASK_ID, TRAINING_DAG_ID, TRAINING_TASK_ID
from ml import settings
from models import models_dir

if TYPE_CHECKING:
    from airflow.sdk.types import OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

    from ml.frames import Frame

DOC = """
### Train the breast cancer classifier

Reads the CSV (`WINDSOCK_TRAINING_CSV`, or the one beside this file), holds out a fifth of its rows, trains a
logistic regression on the others and writes `model.pkl` and `scaler.pkl` into the run's own folder under
`WINDSOCK_MODELS_DIR`. Both are assets: each event carries the scores on the held-out rows, the file's path
and its sha256. `release` starts from them.

A failure anywhere leaves the models of earlier runs as they are, and updates no asset.

The report goes to `NOTIFICATION_EMAIL_TO` through the connection `smtp_default`, whose extra must give a
`from_email`. What became of the run is the monitor's to tell.
"""
TASK_LIMIT = timedelta(minutes=10)  # each takes seconds; a hung disk or mail server must not hold a slot
MAIL_RETRIES = 2  # a mail server's hiccup does not fail a good training run
MAIL_RETRY_DELAY = timedelta(seconds=30)

# Whoever reads this mail reads HTML: what comes out of a task is escaped.
SUBJECT = (
    "{{ dag.dag_id }}: model report, accuracy {{ '%.3f' % ti.xcom_pull(task_ids='load_model').accuracy }}"
)
REPORT = """\
{% set result = ti.xcom_pull(task_ids='load_model') %}
<h2>{{ dag.dag_id | e }}: model report</h2>
<p>Run {{ run_id | e }}, on {{ result.held_out_rows }} held-out rows: accuracy {{ '%.4f' % result.accuracy }},
ROC AUC {{ '%.4f' % result.roc_auc }}, F1 {{ '%.4f' % result.f1 }}.</p>
<pre>{{ result.report | e }}</pre>
<p>{{ result.path | e }}<br>sha256 {{ result.sha256 | e }}</p>
"""


def load_data() -> dict[str, Any]:
    """The CSV's cells as text, and which file it was."""
    from ml.frames import packed
    from ml.load import load

    path = settings.training_csv(os.environ)
    return {"source": str(path), "text": packed(load(path))}


def data_preprocessing(ti: RuntimeTaskInstanceProtocol) -> Frame:
    """The cells as numbers."""
    from ml.frames import packed, text
    from ml.preprocess import preprocess

    loaded = ti.xcom_pull(task_ids="load_data")
    return packed(preprocess(text(loaded["text"]), loaded["source"]))


def separate_data_outputs(ti: RuntimeTaskInstanceProtocol) -> dict[str, Frame]:
    """Training rows and held-out rows."""
    from ml.frames import numbers, packed
    from ml.split import split

    parts = split(numbers(ti.xcom_pull(task_ids="data_preprocessing")))
    return {"train": packed(parts.train), "held_out": packed(parts.held_out)}


def build_model(
    ti: RuntimeTaskInstanceProtocol, outlet_events: OutletEventAccessorsProtocol
) -> dict[str, Any]:
    """Train, write both files, and say of each what it is."""
    from ml import artefact
    from ml.evaluate import scores
    from ml.frames import numbers
    from ml.run_folder import run_folder
    from ml.train import train

    parts = ti.xcom_pull(task_ids=SPLIT_TASK_ID)
    training, held_out = numbers(parts["train"]), numbers(parts["held_out"])
    pair = train(training)
    facts: dict[str, Any] = {
        **scores(pair, held_out),
        "rows": len(training) + len(held_out),
        "training_rows": len(training),
        "held_out_rows": len(held_out),
    }
    folder = run_folder(models_dir(os.environ), ti.dag_id, ti.run_id)
    artefacts = artefact.write(folder, pair)
    built: dict[str, Any] = {**facts, **artefacts}
    outlet_events[MODEL].extra = {**facts, **built["model"]}
    outlet_events[SCALER].extra = {**facts, **built["scaler"]}
    return built


def load_model(ti: RuntimeTaskInstanceProtocol) -> dict[str, Any]:
    """Read the files back as a consumer would, and report on the held-out rows."""
    from ml import artefact
    from ml.evaluate import report, scores
    from ml.frames import numbers

    built = ti.xcom_pull(task_ids=TRAINING_TASK_ID)
    held_out = numbers(ti.xcom_pull(task_ids=SPLIT_TASK_ID)["held_out"])
    pair = artefact.read(built, within=models_dir(os.environ))
    return {
        **built["model"],
        **scores(pair, held_out),
        "held_out_rows": len(held_out),
        "report": report(pair, held_out),
    }


with DAG(
    dag_id=TRAINING_DAG_ID,
    description="Train the breast cancer classifier and emit its model and scaler as assets",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=settings.training_runs(os.environ),
    default_args={"owner": OWNER, "retries": 0, "execution_timeout": TASK_LIMIT},
    tags=["windsock", "training"],
):
    owner_task = BashOperator(
        task_id="owner_task",
        # As variables: what stands in a run's id is never read by the shell.
        bash_command='echo "$OWNER owns run $RUN_ID of $DAG_ID"',
        env={"OWNER": OWNER, "RUN_ID": "{{ run_id }}", "DAG_ID": "{{ dag.dag_id }}"},
        append_env=True,
    )
    # The rows are no reading for a log.
    load, preprocess, separate = (
        PythonOperator(task_id=step.__name__, python_callable=step, show_return_value_in_logs=False)
        for step in (load_data, data_preprocessing, separate_data_outputs)
    )
    build = PythonOperator(task_id=TRAINING_TASK_ID, python_callable=build_model, outlets=[MODEL, SCALER])
    check = PythonOperator(task_id="load_model", python_callable=load_model)
    send_email = EmailOperator(
        task_id="send_email",
        conn_id="smtp_default",
        to=settings.notification_email_to(os.environ),
        subject=SUBJECT,
        html_content=REPORT,
        retries=MAIL_RETRIES,
        retry_delay=MAIL_RETRY_DELAY,
    )
    owner_task >> load >> preprocess >> separate >> build >> check >> send_email
