from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ml.candidate import Update, newest
from ml.errors import ArtefactError, CandidateError


def update(run_id: str | None, minute: int, dag_id: str = "train", **extra: str) -> Update:
    facts = {
        "path": f"/models/{run_id}",
        "sha256": f"{run_id}-{minute}",
        "scikit_learn_version": "1.9",
        **extra,
    }
    at = datetime(2026, 11, 22, tzinfo=timezone.utc) + timedelta(minutes=minute)
    return Update(dag_id, "build", run_id, at, facts)


def test_the_newest_run_that_has_both() -> None:
    models = [update("b", 2), update("a", 1), update("c", 3)]
    scalers = [update("a", 1), update("b", 2)]

    candidate = newest(models, scalers, "train", "build")

    assert candidate["run_id"] == "b"
    assert candidate["artefacts"]["model"]["path"] == candidate["artefacts"]["scaler"]["path"] == "/models/b"


def test_a_run_that_was_repeated_counts_with_its_last_files() -> None:
    both = [update("a", 2), update("a", 1)]

    candidate = newest(both, both, "train", "build")

    assert candidate["artefacts"]["model"]["sha256"] == candidate["artefacts"]["scaler"]["sha256"] == "a-2"


@pytest.mark.parametrize(
    ("models", "scalers"),
    [
        ([update("a", 1)], [update("b", 2)]),
        ([], []),
        ([update("a", 1)], []),
        ([update(None, 1)], [update(None, 1)]),
        ([update("a", 1, "other")], [update("a", 1, "other")]),
        ([update("a", 1)], [update("a", 1, "other")]),
    ],
)
def test_no_pair(models: list[Update], scalers: list[Update]) -> None:
    with pytest.raises(CandidateError, match=r"no run of train\.build has updated both.*trigger train anew"):
        newest(models, scalers, "train", "build")


def test_an_event_without_a_path() -> None:
    incomplete = update("a", 1)._replace(extra={"sha256": "0"})

    with pytest.raises(ArtefactError, match=r"scaler\.pkl of run a: path is None"):
        newest([update("a", 1)], [incomplete], "train", "build")
