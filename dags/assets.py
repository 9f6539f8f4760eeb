"""The assets that the DAGs hand each other.

Their URIs name a thing, not a place: they are equal on every machine. `x-` is the scheme prefix that Airflow
leaves to its users, so no provider rewrites them. Where the files lie is in the extra of each asset event.
"""

from __future__ import annotations

from airflow.sdk import Asset

MODEL = Asset(name="model.pkl", uri="x-windsock://models/model.pkl")
SCALER = Asset(name="scaler.pkl", uri="x-windsock://models/scaler.pkl")
CHAMPION = Asset(name="champion", uri="x-windsock://models/champion")

# Who may update MODEL and SCALER: `release` unpickles nobody else's.
TRAINING_DAG_ID = "Airflow_Lab2"
TRAINING_TASK_ID = "build_model"
SPLIT_TASK_ID = "separate_data_outputs"
OWNER = "windsock"
