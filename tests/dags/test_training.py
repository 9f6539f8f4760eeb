from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import sklearn

from ml.run_folder import run_folder
from tests.dags.csv_files import Lines, changed_csv, drop_column, keep_class
from tests.dags.lab import Lab
from tests.dags.smtp_sink import SmtpSink

TASKS = {
    "owner_task",
    "load_data",
    "data_preprocessing",
    "separate_data_outputs",
    "build_model",
    "load_model",
    "send_email",
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_writes_a_model_and_updates_both_assets(lab: Lab) -> None:
    run = lab.train()

    assert run.state == "success"
    assert run.tasks == dict.fromkeys(TASKS, "success")
    folder = run_folder(lab.models_dir, "Airflow_Lab2", run.run_id)
    for name in ("model.pkl", "scaler.pkl"):
        (extra,) = lab.updates(name)
        assert extra["path"] == str(folder / name)
        assert extra["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert extra["scikit_learn_version"] == sklearn.__version__
        assert (extra["rows"], extra["training_rows"], extra["held_out_rows"]) == (569, 455, 114)
        assert all(0.95 < extra[score] < 1 for score in ("accuracy", "roc_auc", "f1"))
    assert {path.name for path in folder.iterdir()} == {"model.pkl", "scaler.pkl"}
    assert type(pickle.loads((folder / "model.pkl").read_bytes())).__name__ == "LogisticRegression"  # noqa: S301


def test_the_report_is_mailed(lab: Lab, mailbox: SmtpSink) -> None:
    run = lab.train()

    (mail,) = mailbox.mails
    body = mail.get_body(("html",))
    assert body is not None
    text = body.get_content()
    assert mail["To"] == "airflow@example.com"
    assert mail["From"] == "lab@example.com"
    assert mail["Subject"] == "Airflow_Lab2: model report, accuracy 0.982"
    assert run.run_id in text
    assert "malignant      0.976     0.976     0.976        42" in text
    assert lab.updates("model.pkl")[0]["sha256"] in text


# What is done to the CSV, the task that ends over it, and what it says.
WRONG_CSVS: list[tuple[Callable[[Lines], object], str, str]] = [
    (drop_column("mean radius"), "load_data", "column 'mean radius' is 'missing'"),
    (keep_class("1"), "data_preprocessing", "number of rows with target 0 (malignant) is 0"),
]


@pytest.mark.slow
def test_a_wrong_csv_ends_the_task_and_leaves_the_last_good_model_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert lab.train().state == "success"
    good = files(lab.models_dir)
    path = tmp_path / "training.csv"
    monkeypatch.setenv("WINDSOCK_TRAINING_CSV", str(path))

    for change, task, said in WRONG_CSVS:
        changed_csv(path, change)
        capfd.readouterr()
        run = lab.train()
        assert (run.state, run.tasks[task], run.tasks["build_model"]) == (
            "failed",
            "failed",
            "upstream_failed",
        )
        assert f"{path}: {said}" in "".join(capfd.readouterr())
    path.unlink()
    assert lab.train().tasks["load_data"] == "failed"
    assert f"{path}: file is 'No such file or directory'" in "".join(capfd.readouterr())

    assert files(lab.models_dir) == good
    assert len(lab.updates("model.pkl")) == len(lab.updates("scaler.pkl")) == 1


def test_a_model_that_cannot_be_written_updates_no_asset(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WINDSOCK_MODELS_DIR", str(tmp_path / "file"))

    run = lab.train()

    assert run.tasks["build_model"] == "failed"
    assert lab.updates("model.pkl") == lab.updates("scaler.pkl") == []
    assert lab.follow("release") is None
