"""The DAGs' settings: their names in the environment, and their defaults. The DAG files hand it in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BUNDLED_CSV = Path(__file__).parents[1] / "data" / "breast_cancer.csv"
NOBODY = "airflow@example.com"  # a domain that is reserved: no mail reaches anyone by mistake
RUNS = "2"  # runs share nothing, and each holds the rows in memory


def models_url(environ: Mapping[str, str]) -> str:
    """Where models are kept: `WINDSOCK_MODELS_DIR`, a folder or a URL such as s3://connection@bucket/models;
    or `models` in Airflow's home. A folder becomes a file:// URL."""
    home = environ.get("AIRFLOW_HOME") or "~/airflow"
    folder = environ.get("WINDSOCK_MODELS_DIR") or f"{home}/models"
    return folder if "://" in folder else f"file://{Path(folder).expanduser().absolute()}"


def training_csv(environ: Mapping[str, str]) -> Path:
    """What is trained on: `WINDSOCK_TRAINING_CSV`, or the file beside the DAGs."""
    return Path(environ.get("WINDSOCK_TRAINING_CSV") or BUNDLED_CSV).expanduser().absolute()


def training_runs(environ: Mapping[str, str]) -> int:
    """How many training runs go on at once: `WINDSOCK_TRAINING_RUNS`; the others wait. Raises ValueError."""
    text = environ.get("WINDSOCK_TRAINING_RUNS") or RUNS
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"WINDSOCK_TRAINING_RUNS is {text!r}; write how many may run at once: 1 or more")
    return int(text)


def notification_email_to(environ: Mapping[str, str]) -> str:
    """Who gets the model report: `NOTIFICATION_EMAIL_TO`, several separated by commas."""
    return environ.get("NOTIFICATION_EMAIL_TO") or NOBODY
