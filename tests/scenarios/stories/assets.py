"""Assets that are updated, and the runs that this begins. dags/assets.py."""

from tests.scenarios.scenario import Scenario, ended, ran
from tests.scenarios.stage import Stage


def updated(stage: Stage, name: str) -> None:
    """The asset's update is told, and so is the run that it begins."""
    consumer = f"{name}-consumer"
    ended(stage, consumer, states=("success",), tries={"consumes": "success"})
    stage.until_told(name, consumer)
    uris = [
        telling.event["subject"]
        for telling in stage.log.read()
        if telling.event["type"] == "airflow.asset.updated"
    ]
    assert uris.count(f"file:///scenarios/{name}") == 1, f"updates told: {uris}"


def by_task(stage: Stage) -> None:
    ran(stage, "asset_by_task", state="success", tries={"updates": "success"})
    updated(stage, "asset_by_task")


def by_alias(stage: Stage) -> None:
    ran(stage, "asset_by_alias", state="success", tries={"updates": "success"})
    updated(stage, "asset_by_alias")


def by_rest(stage: Stage) -> None:
    name = "asset_by_rest"
    query = (
        "SELECT asset.id FROM asset JOIN asset_active ON asset_active.name = asset.name WHERE asset.name = ?"
    )
    ((asset_id,),) = stage.until(lambda: stage.airflow.query(query, name), 90, f"the asset {name}")
    stage.ask("POST", "/assets/events", {"asset_id": asset_id, "extra": {"rows": 569}})
    updated(stage, name)


ASSETS = (
    Scenario(
        "asset_by_task",
        "an asset's update by a task, and the run it begins",
        by_task,
        ("asset_by_task-consumer",),
    ),
    Scenario("asset_by_alias", "… by an alias", by_alias, ("asset_by_alias-consumer",)),
    Scenario("asset_by_rest", "… over REST", by_rest, ("asset_by_rest-consumer",)),
)
