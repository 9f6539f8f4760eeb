"""Rows of the board and of Airflow's REST answers as the facts of a mail, bounded in number and length."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from monitor.delivery.confirm import MOMENT
from monitor.events.data import AssetUpdatedData, DagRunData
from monitor.render import Asset, Error, Fact, Run, Task

MESSAGE_LENGTH = 600  # characters of an error's message
LINE_LENGTH = 300  # characters of a line of a traceback or log
TRACE_LINES = 20  # the last lines of a traceback: where it broke, and the error
MAX_METRICS = 6
MAX_DETAILS = 12  # of an asset's extra
DETAIL_LENGTH = 160
MAX_TRIGGERED = 10

METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "roc_auc": "ROC AUC",
    "auc": "AUC",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "log_loss": "Log loss",
    "loss": "Loss",
}
"""The numbers in an asset's extra that are told large, by the names that scikit-learn and its kin use."""


def run_of(deployment: str, data: DagRunData) -> Run:
    return Run(
        deployment=deployment,
        dag_id=data.dag_id,
        run_id=data.run_id,
        state=data.state,
        run_type=data.run_type,
        logical_date=data.logical_date,
        queued_at=data.queued_at,
        start=data.start_date,
        end=data.end_date,
        message=data.message,
    )


def task_of(row: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Task:
    """A task from Airflow's row or the board's; `known` is the board's row of the same try."""
    error = (known or row).get("error")
    return Task(
        task_id=str(row["task_id"]),
        map_index=int(row.get("map_index", -1)),
        state=str(row.get("state") or "none"),
        try_number=int(row.get("try_number") or 0),
        max_tries=int(row.get("max_tries") or 0),
        operator=row.get("operator"),
        host=row.get("hostname") or None,
        start=MOMENT.validate_python(row.get("start_date")),
        end=MOMENT.validate_python(row.get("end_date")),
        error=error_of(error) if error else None,
    )


def error_of(error: Mapping[str, Any]) -> Error:
    first, *more = str(error.get("message") or "").strip().splitlines() or [""]
    trace = str(error.get("traceback") or "").rstrip().splitlines()
    return Error(
        type=error.get("type") or None,
        message=first[:MESSAGE_LENGTH],
        lines=last_lines(trace or more, TRACE_LINES),
        lines_from="Traceback" if trace else "Message",
    )


def last_lines(lines: list[str], number: int) -> tuple[str, ...]:
    return tuple(line[:LINE_LENGTH] for line in lines[-number:])


def asset_of(data: AssetUpdatedData) -> Asset:
    """What an update says, without the metrics: those are told once, for the run."""
    extra = {key: value for key, value in _flat(data.extra).items() if key not in METRICS}
    return Asset(
        name=data.asset.name,
        uri=data.asset.uri,
        details=tuple(Fact(key.replace("_", " "), _short(extra[key])) for key in list(extra)[:MAX_DETAILS]),
        triggered=tuple(
            f"{run.get('dag_id')} / {run.get('run_id')}" for run in data.created_dagruns[:MAX_TRIGGERED]
        ),
    )


def metrics_of(updates: Iterable[AssetUpdatedData]) -> tuple[Fact, ...]:
    """The metrics of a run's assets, each once."""
    found: dict[str, str] = {}
    for update in updates:
        for key, value in _flat(update.extra).items():
            if key in METRICS and isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(METRICS[key], f"{value:.4f}")
    order = list(METRICS.values())
    return tuple(Fact(label, found[label]) for label in sorted(found, key=order.index)[:MAX_METRICS])


def _flat(extra: Mapping[str, Any]) -> dict[str, Any]:
    """An extra with what stands under `metrics` beside the rest."""
    nested = extra.get("metrics")
    if not isinstance(nested, Mapping):
        return dict(extra)
    return {**{key: value for key, value in extra.items() if key != "metrics"}, **nested}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= DETAIL_LENGTH else text[: DETAIL_LENGTH - 1] + "…"
