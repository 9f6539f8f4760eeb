"""A model that is trained again and again, for pages that are looked at."""

from datetime import datetime, timedelta, timezone
from math import sin
from typing import Any

from tests.sample import START, asset_event, run_event
from tests.unit.web_support import Served

URI = "file:///models/model.pkl?stage=#1 – 100%/é"
"""Every sign that an address may stumble over."""
DAG = "Airflow_Lab2"
GAP = 3600.0  # seconds from one training to the next


def update(number: int, ago: float, **data: Any) -> dict[str, Any]:
    """The model's update by run `number`, so many seconds ago."""
    at = (datetime.now(timezone.utc) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    extra = {
        "accuracy": round(0.95 + 0.02 * sin(number) + number / 5000, 6),
        "roc_auc": round(0.99 + 0.004 * sin(number * 1.7), 6),
        "f1": round(0.96 + 0.02 * sin(number * 0.7), 6),
        "rows": 569,
        "sha256": f"{number:02x}9f86d081884c7d" * 4,
        "versions": {"python": "3.12.3", "sklearn": "1.7.2"},
        "path": f"/models/Airflow_Lab2/manual__{number}/model.pkl",
    }
    told = {"source_dag_id": DAG, "source_run_id": f"manual__{number}", "source_task_id": "build_model"}
    began = [{"dag_id": "release", "run_id": f"asset_triggered__{number}"}]
    asset = {"name": "model.pkl", "uri": URI, "group": "asset"}
    made = asset_event(
        number, URI, asset=asset, timestamp=at, **{"extra": extra, "created_dagruns": began, **told, **data}
    )
    return made | {"time": at}


def train(monitor: Served, updates: int = 30, since_last: float = 600) -> None:
    """So many updates, one an hour; and an asset without numbers, and one that never was updated."""
    told = [update(n, since_last + GAP * (updates - n)) for n in range(1, updates + 1)]
    told += [run_event("success", DAG, f"manual__{updates}", start=_start(since_last + 20))]
    told += [asset_event(1001, "s3://lake/raw/customers.parquet", source_dag_id="ingest", extra={})]
    answer = monitor.post(told)
    assert answer.json()["rejected"] == 0, answer.text


def _start(ago: float) -> float:
    return (datetime.now(timezone.utc) - START).total_seconds() - ago
