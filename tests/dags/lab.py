"""The DAGs on a real Airflow: its metadata database, its execution API, its scheduler's own code for runs
that assets start. Nothing of it is replaced; only the processes around it are missing.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetDagRunQueue, AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, timezone as airflow_timezone
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import delete, select

DAGS_FOLDER = Path(__file__).parents[2] / "dags"
