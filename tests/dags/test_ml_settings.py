from __future__ import annotations

from pathlib import Path

import pytest

from ml import settings


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"WINDSOCK_MODELS_DIR": "/models", "AIRFLOW_HOME": "/home"}, "file:///models"),
        ({"WINDSOCK_MODELS_DIR": "file:///models"}, "file:///models"),
        ({"WINDSOCK_MODELS_DIR": "s3://key@bucket/models"}, "s3://key@bucket/models"),
        ({"WINDSOCK_MODELS_DIR": "", "AIRFLOW_HOME": "/home"}, "file:///home/models"),
        ({}, f"file://{Path('~/airflow/models').expanduser()}"),
    ],
)
def test_models_url(environ: dict[str, str], url: str) -> None:
    assert settings.models_url(environ) == url


def test_training_csv() -> None:
    assert settings.training_csv({"WINDSOCK_TRAINING_CSV": "/data.csv"}) == Path("/data.csv")
    assert settings.training_csv({}) == settings.BUNDLED_CSV
    assert settings.BUNDLED_CSV.is_file()


def test_training_runs() -> None:
    assert settings.training_runs({"WINDSOCK_TRAINING_RUNS": "20"}) == 20
    assert settings.training_runs({"WINDSOCK_TRAINING_RUNS": ""}) == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_training_runs_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=rf"WINDSOCK_TRAINING_RUNS is '{text}'; .*1 or more"):
        settings.training_runs({"WINDSOCK_TRAINING_RUNS": text})


def test_notification_email_to() -> None:
    assert settings.notification_email_to({"NOTIFICATION_EMAIL_TO": "a@b.org"}) == "a@b.org"
    assert settings.notification_email_to({"NOTIFICATION_EMAIL_TO": ""}) == "airflow@example.com"
