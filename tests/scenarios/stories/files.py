"""DAG files that break, are mended and change; a DAG that is paused."""

from pathlib import Path

from tests.e2e.truth import endings
from tests.scenarios.scenario import Scenario, ended, ran
from tests.scenarios.stage import Stage
from tests.scenarios.stories.by_hand import clear

FILE_SECONDS = 90.0  # until the dag-processor has looked at a changed file
TOLD_SECONDS = 120.0  # an error's end is looked for every 30 s and believed when it is 15 s old
PAUSE_SECONDS = 150.0  # pauses are looked for every 60 s
HEAD = """
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
"""
BROKEN = HEAD + "raise ValueError('no such library')\n"
ERROR = "airflow.dag.import_error"


def dag_file(dag_id: str, *tasks: str) -> str:
    lines = [f"    PythonOperator(task_id={task!r}, python_callable=print)" for task in tasks]
    return "\n".join([HEAD, f"with DAG({dag_id!r}, schedule=None, catchup=False):", *lines, ""])


def broken(stage: Stage, name: str) -> None:
    """Break a file, and wait until that is in Airflow's database and told."""
    stage.write(name, BROKEN)
    stage.until(lambda: _errors(stage, name), FILE_SECONDS, f"the import error of {name}")
    stage.until_told(name)


def mended(stage: Stage, name: str) -> None:
    # With a DAG: Airflow 3.0 keeps the error of a file that holds none.
    stage.write(name, dag_file(f"mended-{Path(name).stem}", "one"))
    stage.until(lambda: not _errors(stage, name), FILE_SECONDS, f"{name} to be mended")


def _errors(stage: Stage, name: str) -> list[str]:
    return [ending.what for ending in endings(stage.airflow) if ending.origin == name]


def told_of(stage: Stage, name: str) -> list[str]:
    """What was told of a file, oldest first: `import_error` or `import_error_mended`."""
    return [
        telling.event["type"].rpartition(".")[2]
        for telling in stage.log.read()
        if telling.event["type"].startswith(ERROR)
        and telling.event["data"]["filename"].rpartition("/")[2] == name
    ]


def check_told(stage: Stage, name: str, *words: str) -> None:
    stage.until(
        lambda: len(told_of(stage, name)) >= len(words), TOLD_SECONDS, f"{words} of {name} to be told"
    )
    told = told_of(stage, name)
    assert told == list(words), f"told of {name}: {told}, not {list(words)}"


def import_error_new(stage: Stage) -> None:
    broken(stage, "import_error_new.py")
    check_told(stage, "import_error_new.py", "import_error")


def import_error_repeated(stage: Stage) -> None:
    """Airflow dates the error anew at each parse: three of them, and one telling."""
    name = "import_error_repeated.py"
    broken(stage, name)
    for _ in range(3):
        query = "SELECT timestamp FROM import_error WHERE filename LIKE ?"
        before = stage.airflow.query(query, f"%{name}")
        stage.until(
            lambda: stage.airflow.query(query, f"%{name}") != before,  # noqa: B023 (used at once)
            FILE_SECONDS,
            f"{name} to be parsed again",
        )
    check_told(stage, name, "import_error")


def import_error_mended(stage: Stage) -> None:
    name = "import_error_mended.py"
    broken(stage, name)
    mended(stage, name)
    check_told(stage, name, "import_error", "import_error_mended")


def import_error_again(stage: Stage) -> None:
    name = "import_error_again.py"
    broken(stage, name)
    mended(stage, name)
    check_told(stage, name, "import_error", "import_error_mended")
    broken(stage, name)
    check_told(stage, name, "import_error", "import_error_mended", "import_error")


def ends_from_trigger(stage: Stage) -> None:
    name = "ends_from_trigger.py"
    stage.until(lambda: _errors(stage, name), FILE_SECONDS, f"the import error of {name}")
    stage.until_told(name)
    ((trace,),) = stage.airflow.query("SELECT stacktrace FROM import_error WHERE filename LIKE ?", f"%{name}")
    assert "Listeners are not supported with end_from_trigger=True" in trace
    check_told(stage, name, "import_error")


def removed_task(stage: Stage) -> None:
    """A task disappears from its file, and an older run, which had it, is cleared."""
    dag_id, name = "removed_task", "removed_task.py"
    stage.write(name, dag_file(dag_id, "stays", "goes"))
    run_id = ran(stage, dag_id, state="success", tries={"stays": "success", "goes": "success"})
    stage.write(name, dag_file(dag_id, "stays"))
    stage.until(lambda: _tasks(stage, dag_id) == ["stays"], FILE_SECONDS, f"a new version of {dag_id}")
    clear(stage, dag_id, run_id, "stays")
    stage.until(lambda: stage.tries(dag_id)["stays"] == "success, success", 120, f"{dag_id} to run again")
    ended(stage, dag_id, states=("success",), tries={"stays": "success, success", "goes": "removed"})


def _tasks(stage: Stage, dag_id: str) -> list[str]:
    return [task["task_id"] for task in stage.ask("GET", f"/dags/{dag_id}/tasks")["tasks"]]


def paused(stage: Stage) -> None:
    """No hook tells: the reconciler compares, once a minute, what it knew of each DAG."""
    dag_id = "paused"
    known = "SELECT 1 FROM dags WHERE dag_id = ?"
    stage.until(lambda: stage.remembered(known, dag_id), PAUSE_SECONDS, f"{dag_id} to be known")
    for count, on in enumerate((True, False), start=1):
        stage.ask("PATCH", f"/dags/{dag_id}", {"is_paused": on})
        stage.until(lambda: len(pauses(stage, dag_id)) >= count, PAUSE_SECONDS, f"is_paused={on} to be told")  # noqa: B023 (used at once)
    told = pauses(stage, dag_id)
    assert told == ["paused", "unpaused"], f"told: {told}"


def pauses(stage: Stage, dag_id: str) -> list[str]:
    return [
        telling.event["type"].rpartition(".")[2]
        for telling in stage.log.read()
        if telling.event["type"] in ("airflow.dag.paused", "airflow.dag.unpaused")
        and telling.event["data"]["dag_id"] == dag_id
    ]


FILES = (
    Scenario("import_error_new.py", "an import error", import_error_new),
    Scenario("import_error_repeated.py", "an import error at every parse", import_error_repeated),
    Scenario("import_error_mended.py", "an import error mended", import_error_mended),
    Scenario("import_error_again.py", "the same import error again", import_error_again),
    Scenario("ends_from_trigger.py", "end_from_trigger=True: an import error", ends_from_trigger),
    Scenario("removed_task", "a removed task", removed_task),
    Scenario("paused", "a DAG paused and unpaused", paused),
)
