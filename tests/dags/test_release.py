from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.split import Split
from tests.dags.csv_files import Lines, changed_csv
from tests.dags.lab import Lab, Run


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


def followed(lab: Lab, dag_id: str) -> Run:
    run = lab.follow(dag_id)
    assert run is not None
    return run


def spoil_training_rows(parts: Split) -> Callable[[Lines], None]:
    """Shuffle the features among the training rows: the held-out rows stay as they are."""
    positions = [line - 1 for line in parts.train.index]

    def change(lines: Lines) -> None:
        features = [lines[position][:-1] for position in positions]
        shuffled = np.random.default_rng(0).permutation(len(positions))
        for position, donor in zip(positions, shuffled, strict=True):
            lines[position][:-1] = features[donor]

    return change


def record(lab: Lab) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((lab.models_dir / "champion" / "champion.json").read_text())
    return content


@pytest.mark.slow
def test_the_first_model_is_promoted_and_scored_with(lab: Lab) -> None:
    training = lab.train()

    release = followed(lab, "release")
    scoring = followed(lab, "scoring")

    assert (release.state, scoring.state) == ("success", "success")
    (model,), (champion,) = lab.updates("model.pkl"), lab.updates("champion")
    assert champion["training_run_id"] == training.run_id
    assert champion["model"]["sha256"] == model["sha256"]
    assert [champion[score] for score in ("accuracy", "roc_auc", "f1")] == [
        model[score] for score in ("accuracy", "roc_auc", "f1")
    ]
    released = lab.models_dir / "champion"
    assert Path(champion["model"]["path"]) == released.resolve() / "model.pkl"
    assert (released / "model.pkl").read_bytes() == Path(model["path"]).read_bytes()
    (predictions,) = (lab.models_dir / "scoring").glob("*/predictions.csv")
    assert len(predictions.read_text().splitlines()) == 1 + 569


def test_an_equal_model_is_promoted(lab: Lab) -> None:
    lab.train()
    followed(lab, "release")
    second = lab.train()

    followed(lab, "release")

    assert record(lab)["training_run_id"] == second.run_id
    assert len(lab.updates("champion")) == 2
    assert len(list((lab.models_dir / "champions").iterdir())) == 2


def test_a_worse_model_is_not(
    lab: Lab, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lab.train()
    followed(lab, "release")
    followed(lab, "scoring")
    spoilt = changed_csv(tmp_path / "spoilt.csv", spoil_training_rows(parts))
    monkeypatch.setenv("WINDSOCK_TRAINING_CSV", str(spoilt))
    lab.train()

    release = followed(lab, "release")

    assert release.state == "success"
    assert release.tasks["promote"] == "skipped"
    assert record(lab)["training_run_id"] == first.run_id
    assert len(lab.updates("champion")) == 1
    assert lab.follow("scoring") is None


def test_a_champion_of_another_scikit_learn_cannot_be_compared_and_is_replaced(lab: Lab) -> None:
    lab.train()
    followed(lab, "release")
    path = lab.models_dir / "champion" / "champion.json"
    older = record(lab)
    older["model"]["scikit_learn_version"] = "0.9"
    path.write_text(json.dumps(older))
    second = lab.train()

    assert followed(lab, "release").state == "success"
    assert record(lab)["training_run_id"] == second.run_id
    assert lab.updates("champion")[1]["reason"] == "there is no champion to compare with"


def test_a_tampered_champion_stops_the_release(lab: Lab) -> None:
    lab.train()
    followed(lab, "release")
    (lab.models_dir / "champion" / "model.pkl").write_bytes(b"something else")
    lab.train()

    assert followed(lab, "release").tasks["compare_with_champion"] == "failed"


def test_a_tampered_pickle_is_refused_before_it_is_unpickled(
    lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lab.train()
    (model,) = lab.updates("model.pkl")
    Path(model["path"]).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))

    release = followed(lab, "release")

    assert release.tasks == {
        "pick_candidate": "success",
        "compare_with_champion": "failed",
        "promote": "upstream_failed",
    }
    assert not (tmp_path / "exploded").exists()
    assert lab.updates("champion") == []
    assert not (lab.models_dir / "champion").exists()
    assert "the file was changed after it was written and is not unpickled" in "".join(capfd.readouterr())


def test_a_pickle_outside_the_models_folder_is_refused(lab: Lab, tmp_path: Path) -> None:
    lab.train()
    (model,) = lab.updates("model.pkl")
    elsewhere = tmp_path / "model.pkl"
    elsewhere.write_bytes(Path(model["path"]).read_bytes())
    lab.rewrite_update("model.pkl", extra={**model, "path": str(elsewhere)})

    assert followed(lab, "release").tasks["compare_with_champion"] == "failed"


@pytest.mark.parametrize(
    "source",
    [
        {"source_run_id": "manual__another"},
        {"source_dag_id": None, "source_task_id": None, "source_run_id": None},
        {"source_dag_id": "somebody_else_s"},
    ],
    ids=["of another run", "reported by hand", "of another DAG"],
)
def test_a_model_is_never_paired_with_a_scaler_that_is_not_its_own(
    lab: Lab, source: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    lab.train()
    lab.rewrite_update("scaler.pkl", **source)

    release = followed(lab, "release")

    assert release.tasks["pick_candidate"] == "failed"
    assert lab.updates("champion") == []
    assert "A model is only released with its own scaler" in "".join(capfd.readouterr())


def test_a_release_by_hand_fails(lab: Lab) -> None:
    assert lab.trigger("release").tasks["pick_candidate"] == "failed"


def test_scoring_needs_a_champion(lab: Lab) -> None:
    assert lab.trigger("scoring").tasks == {"score": "failed"}


def test_scoring_by_hand_uses_the_champion(lab: Lab) -> None:
    lab.train()
    followed(lab, "release")

    assert lab.trigger("scoring").state == "success"


@pytest.mark.slow
def test_models_may_lie_in_an_object_store(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_MODELS_DIR", "memory://bucket/models")
    for _ in range(2):
        lab.train()
        assert (followed(lab, "release").state, followed(lab, "scoring").state) == ("success", "success")
    first, second = lab.updates("champion")
    assert second["model"]["path"].startswith("memory://bucket/models/champions/")
    assert first["model"]["path"] != second["model"]["path"]
    assert not lab.models_dir.exists()


def test_a_pickle_outside_the_store_s_folder_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_MODELS_DIR", "memory://bucket/models")
    lab.train()
    (model,) = lab.updates("model.pkl")
    climbing = model["path"].replace("/models/", "/models/../models/")
    lab.rewrite_update("model.pkl", extra={**model, "path": climbing})

    assert followed(lab, "release").tasks["compare_with_champion"] == "failed"
