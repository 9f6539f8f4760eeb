"""Which model, and which scaler, started a release?

Airflow starts a run that waits for two assets with every event since its last run: there may be several
training runs among them, and, where the window cuts one run's two events apart, a model of one run beside
the scaler of another. Such a pair would predict nonsense, silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from ml.artefact import Artefacts, parse
from ml.errors import CandidateError


class Update(NamedTuple):
    """An asset event: which task's which run updated the asset, when, and what it said of it.

    Who updates an asset by hand has no run (None).
    """

    dag_id: str | None
    task_id: str | None
    run_id: str | None
    timestamp: datetime
    extra: Mapping[str, Any]


class Candidate(TypedDict):
    """A model and the scaler of the same training run."""

    run_id: str
    artefacts: Artefacts


def newest(models: Sequence[Update], scalers: Sequence[Update], dag_id: str, task_id: str) -> Candidate:
    """The pair of the newest run of this task that has updated both.

    Raises `CandidateError` where there is none, `ArtefactError` where an event does not say what it should.
    """
    by_run = {update.run_id: update for update in _made_by(scalers, dag_id, task_id)}
    for model in sorted(_made_by(models, dag_id, task_id), key=lambda update: update.timestamp, reverse=True):
        if model.run_id in by_run and model.run_id is not None:
            scaler = by_run[model.run_id]
            return {
                "run_id": model.run_id,
                "artefacts": {
                    "model": parse(model.extra, f"model.pkl of run {model.run_id}"),
                    "scaler": parse(scaler.extra, f"scaler.pkl of run {model.run_id}"),
                },
            }
    raise CandidateError(
        f"no run of {dag_id}.{task_id} has updated both: model.pkl was updated by {_runs(models)}, "
        f"scaler.pkl by {_runs(scalers)}. A model is only released with its own scaler: trigger {dag_id} anew"
    )


def _made_by(updates: Sequence[Update], dag_id: str, task_id: str) -> list[Update]:
    """Oldest first. What others claim about an asset is not unpickled: anyone may report one by REST."""
    made = [update for update in updates if (update.dag_id, update.task_id) == (dag_id, task_id)]
    return sorted(made, key=lambda update: update.timestamp)


def _runs(updates: Sequence[Update]) -> str:
    return ", ".join(f"{u.dag_id}.{u.task_id} in run {u.run_id}" for u in updates) or "nobody"
