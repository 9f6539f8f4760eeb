"""The numbers that a run's assets carry, and by how much they moved since the last good run."""

from collections.abc import Iterable, Mapping
from typing import Any

from monitor.events.data import AssetUpdatedData
from monitor.render import Metric

MAX_METRICS = 6
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
UNMOVED = 0.00005  # what four digits do not show


def metrics_of(
    updates: Iterable[AssetUpdatedData], before: Iterable[AssetUpdatedData] = ()
) -> tuple[Metric, ...]:
    """The metrics of a run's assets, each once, against those of the last good run."""
    now, then = _numbers(updates), _numbers(before)
    shown = [key for key in METRICS if key in now][:MAX_METRICS]
    return tuple(
        Metric(METRICS[key], f"{now[key]:.4f}", _moved(now[key], then[key]) if key in then else "")
        for key in shown
    )


def _numbers(updates: Iterable[AssetUpdatedData]) -> dict[str, float]:
    found: dict[str, float] = {}
    for update in updates:
        for key, value in flat(update.extra).items():
            if key in METRICS and isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(key, float(value))
    return found


def _moved(now: float, then: float) -> str:
    return "as before" if abs(now - then) < UNMOVED else f"{now - then:+.4f}"


def flat(extra: Mapping[str, Any]) -> dict[str, Any]:
    """An extra with what stands under `metrics` beside the rest."""
    nested = extra.get("metrics")
    if not isinstance(nested, Mapping):
        return dict(extra)
    return {**{key: value for key, value in extra.items() if key != "metrics"}, **nested}
