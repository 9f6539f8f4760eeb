from __future__ import annotations

import itertools
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.providers.smtp.operators.smtp import EmailOperator

from assets import CHAMPION, MODEL, SCALER
from tests.dags.conftest import DAGS_FOLDER, SUBPROCESS_SECONDS

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import BundleDagBag

CHAINS = {
    "Airflow_Lab2": [
        "owner_task",
        "load_data",
        "data_preprocessing",
        "separate_data_outputs",
        "build_model",
        "load_model",
        "send_email",
    ],
    "release": ["pick_candidate", "compare_with_champion", "promote"],
    "scoring": ["score"],
}
OPERATORS = {"owner_task": "BashOperator", "send_email": "EmailOperator"}


def test_every_dag_is_there_and_nothing_else(bag: BundleDagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == set(CHAINS)
    assert {stat.file for stat in bag.dagbag_stats} == {"training.py", "release.py", "scoring.py"}


@pytest.mark.parametrize("dag_id", CHAINS)
def test_the_tasks_form_one_chain(bag: BundleDagBag, dag_id: str) -> None:
    chain = CHAINS[dag_id]
    edges = {
        (task.task_id, follower) for task in bag.dags[dag_id].tasks for follower in task.downstream_task_ids
    }

    assert set(bag.dags[dag_id].task_ids) == set(chain)
    assert edges == set(itertools.pairwise(chain))


@pytest.mark.parametrize("dag_id", CHAINS)
def test_operators(bag: BundleDagBag, dag_id: str) -> None:
    kinds = {task.task_id: task.task_type for task in bag.dags[dag_id].tasks}

    assert kinds == {task_id: OPERATORS.get(task_id, "PythonOperator") for task_id in CHAINS[dag_id]}


@pytest.mark.parametrize("dag_id", CHAINS)
def test_no_dag_has_a_callback(bag: BundleDagBag, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    for owner in (dag, *dag.tasks):
        callbacks = {
            name: getattr(owner, name) for name in dir(owner) if re.fullmatch("on_.*_callback", name)
        }
        assert callbacks
        assert not any(callbacks.values()), callbacks


@pytest.mark.parametrize("dag_id", CHAINS)
def test_every_dag_says_whose_it_is(bag: BundleDagBag, dag_id: str) -> None:
    dag = bag.dags[dag_id]

    assert dag.catchup is False
    assert {task.owner for task in dag.tasks} == {"windsock"}
    assert "windsock" in dag.tags
    assert dag.doc_md
    assert dag.start_date is not None


def test_what_starts_a_run(bag: BundleDagBag) -> None:
    started_by = {dag_id: dag.schedule for dag_id, dag in bag.dags.items()}

    assert started_by == {"Airflow_Lab2": None, "release": MODEL & SCALER, "scoring": [CHAMPION]}


def test_asset_uris_name_no_place(bag: BundleDagBag) -> None:
    uris = {
        asset.name: asset.uri for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets
    }

    assert uris == {
        "model.pkl": "x-windsock://models/model.pkl",
        "scaler.pkl": "x-windsock://models/scaler.pkl",
        "champion": "x-windsock://models/champion",
    }


def test_the_recipient_comes_from_the_environment(bag: BundleDagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.dags.lab import read_dags

    monkeypatch.setenv("NOTIFICATION_EMAIL_TO", "lab@example.org, lead@example.org")
    addressed = read_dags(DAGS_FOLDER)

    tasks = [read.dags["Airflow_Lab2"].get_task("send_email") for read in (bag, addressed)]
    recipients = [task.to for task in tasks if isinstance(task, EmailOperator)]
    assert recipients == ["airflow@example.com", "lab@example.org, lead@example.org"]


def test_parsing_imports_nothing_heavy() -> None:
    """The dag-processor imports these files again and again."""
    program = (
        "import sys, training, release, scoring; heavy = {'sklearn', 'scipy', 'pandas', 'joblib'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        (sys.executable, "-c", program),
        cwd=DAGS_FOLDER,
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_SECONDS,
    )

    assert done.returncode == 0, done.stderr
