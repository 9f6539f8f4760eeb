"""What people look at when something is wrong: backfills, automatic pauses, deletions, tests by hand, mapped
tasks, files of one name, partitions. dags/troubled.py, dags/partitions.py.
"""

import subprocess

from tests.airflow_environment import AIRFLOW
from tests.scenarios.scenario import Scenario, ended, ran
from tests.scenarios.stage import DAG_SECONDS, RUN_SECONDS, Stage
from tests.scenarios.stories.files import BROKEN, FILE_SECONDS, PAUSE_SECONDS, dag_file, pauses

COMPLETED_SECONDS = 150.0  # Airflow looks every 30 s whether a backfill is through
DELETED_SECONDS = 240.0  # a run that was there at one look is asked about again after two minutes
TESTS = 3  # Airflow 3.0's scheduler may take a test's task too; then the test's own end of it is refused
TEST_SECONDS = 200.0  # `airflow dags test` imports all of Airflow first
DAYS, FAILED_DAYS = 10, 2


def backfilled(stage: Stage) -> None:
    dag_id = "backfilled"
    known = "SELECT 1 FROM dag WHERE dag_id = ? AND NOT is_stale"
    stage.until(lambda: stage.airflow.query(known, dag_id), DAG_SECONDS, f"the DAG {dag_id}")
    span = {"from_date": "2024-01-01T00:00:00Z", "to_date": f"2024-01-{DAYS}T00:00:00Z"}
    number = stage.ask("POST", "/backfills", {"dag_id": dag_id, **span, "max_active_runs": 4})["id"]
    query = "SELECT 1 FROM dag_run WHERE backfill_id = ? AND state IN ('success', 'failed')"
    stage.until(lambda: len(stage.airflow.query(query, number)) == DAYS, RUN_SECONDS, "the backfill's runs")
    event = stage.until_event(COMPLETED_SECONDS, "airflow.backfill.completed", dag_id=dag_id)
    counted = event["data"]["total_runs"], event["data"]["failed_runs"]
    assert counted == (DAYS, FAILED_DAYS), f"told of runs and failures: {counted}"
    stage.until_told(dag_id)


def auto_paused(stage: Stage) -> None:
    """Airflow pauses the DAG by itself, and no hook says so."""
    dag_id = "auto_paused"
    for number in (1, 2):
        stage.trigger(dag_id)
        stage.until_ended(dag_id, number)
    stage.until(lambda: pauses(stage, dag_id), PAUSE_SECONDS, f"the pause of {dag_id} to be told")
    assert pauses(stage, dag_id) == ["paused"]
    stage.until_event(PAUSE_SECONDS, "windsock.dag.auto_paused", dag_id=dag_id)
    stage.until_told(dag_id)


def tested_by_hand(stage: Stage) -> None:
    """The test succeeds, and ends nothing."""
    dag_id = "tested_by_hand"
    ran(stage, dag_id, state="failed", tries={"one": "failed"})
    stage.signal(f"{dag_id}-mended")  # whoever runs its task: the scheduler takes some of a test's, too
    folder = stage.airflow.dags_folder
    for _ in range(TESTS):
        tested = subprocess.run(
            # Without the path, Airflow reads each file of the folder; other stories write and remove some.
            [str(AIRFLOW), "dags", "test", dag_id, "--dagfile-path", str(folder / "troubled.py")],
            env=stage.airflow.environment | {"PYTHONPATH": str(folder)},  # 3.0 does not put it there itself
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
        )
        if tested.returncode == 0:
            break
    assert tested.returncode == 0, tested.stdout[-4000:] + tested.stderr[-2000:]
    stage.until(lambda: "success" in stage.runs(dag_id), RUN_SECONDS, "the test's run to end")
    stage.until_told(dag_id)
    assert stage.incidents(dag_id) == ["open"]


def mapped_recovers(stage: Stage) -> None:
    """One index fails for good; that another succeeds later is no recovery."""
    dag_id = "mapped_recovers"
    stage.trigger(dag_id)
    stage.until_event(RUN_SECONDS, "airflow.task_instance.failed", dag_id=dag_id)
    stage.signal(f"{dag_id}-goes-on")
    ended(stage, dag_id, states=("failed",), tries={"part[0]": "success", "part[1]": "failed"})
    assert set(stage.incidents(dag_id)) == {"open"}


def run_deleted(stage: Stage) -> None:
    """Its incident is closed, since nobody can mend what is gone."""
    dag_id = "run_deleted"
    run_id = ran(stage, dag_id, state="failed", tries={"broken": "failed"})
    assert stage.incidents(dag_id) == ["open"]
    stage.ask("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")
    stage.until(lambda: stage.incidents(dag_id) == ["closed"], DELETED_SECONDS, "the incident to be closed")


def dag_deleted(stage: Stage) -> None:
    dag_id, name = "dag_deleted", "dag_deleted.py"
    stage.write(name, dag_file(dag_id, "one").replace("callable=print", "callable=lambda: 1 / 0"))
    ran(stage, dag_id, state="failed", tries={"one": "failed"})
    stage.remove(name)
    stage.ask("DELETE", f"/dags/{dag_id}")
    stage.until(lambda: stage.incidents(dag_id) == ["closed"], DELETED_SECONDS, "the incident to be closed")


def files_of_one_name(stage: Stage) -> None:
    """Both break; that one is mended says nothing of the other."""
    folders = ("one_name", "other_name")
    for folder in folders:
        stage.write(f"{folder}/same.py", BROKEN)
    query = "SELECT filename FROM import_error WHERE filename LIKE ?"
    for folder in folders:
        name = f"%{folder}/same.py"
        stage.until(lambda name=name: stage.airflow.query(query, name), FILE_SECONDS, f"the error of {name}")  # type: ignore[misc]
    stage.until_told("same.py")
    stage.write("one_name/same.py", dag_file("mended-same", "one"))
    mended = stage.until_event(
        FILE_SECONDS + PAUSE_SECONDS, "airflow.dag.import_error_mended", file="same.py"
    )
    assert "one_name/" in mended["data"]["filename"]
    assert len(stage.airflow.query(query, "%other_name/same.py")) == 1


def partitioned(stage: Stage) -> None:
    """The update and the run that it begins say which partition they are about."""
    name, consumer, key = "partitioned", "partitioned-consumer", "2026-11-22"
    query = (
        "SELECT asset.id FROM asset JOIN asset_active ON asset_active.name = asset.name WHERE asset.name = ?"
    )
    ((asset_id,),) = stage.until(lambda: stage.airflow.query(query, name), DAG_SECONDS, f"the asset {name}")
    stage.ask("POST", "/assets/events", {"asset_id": asset_id, "partition_key": key})
    ended(stage, consumer, states=("success",), tries={"consumes": "success"})
    stage.until_told(name, consumer)
    for kind, more in (("airflow.asset.updated", {}), ("airflow.dag_run.success", {"dag_id": consumer})):
        event = stage.until_event(RUN_SECONDS, kind, partition_key=key, **more)
        assert event["data"]["partition_key"] == key


TROUBLES = (
    Scenario("backfilled", "a backfill of ten days, two of which fail", backfilled),
    Scenario("auto_paused", "a DAG that Airflow pauses by itself", auto_paused),
    Scenario("tested_by_hand", "`airflow dags test` of a DAG that has failed", tested_by_hand),
    Scenario("mapped_recovers", "mapped: one index fails, another succeeds later", mapped_recovers),
    Scenario("run_deleted", "a failed run is deleted", run_deleted),
    Scenario("dag_deleted", "a DAG is deleted", dag_deleted),
    Scenario("same.py", "two files of one name with import errors, one mended", files_of_one_name),
    Scenario(
        "partitioned",
        "a partition of an asset, and the run it begins",
        partitioned,
        ("partitioned-consumer",),
        since=(3, 2),
    ),
)
