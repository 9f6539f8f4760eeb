"""A home of its own for Airflow, with a real metadata database, for the tests of the DAGs.

Airflow reads its environment when it is imported, so that is set here, before any test module is. Only the
tests that ask for `lab` or `bag` import it: the functions in `dags/ml` are tested without.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dags.smtp_sink import SmtpSink, smtp_sink

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import BundleDagBag
    from pandas import DataFrame

    from ml.evaluate import Pair
    from ml.split import Split
    from tests.dags.lab import Lab

DAGS_FOLDER = Path(__file__).parents[2] / "dags"
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="windsock-dags-"))
SUBPROCESS_SECONDS = 300  # ten on an idle machine; only a hang is to be ended

os.environ |= {
    "AIRFLOW_HOME": str(AIRFLOW_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS_FOLDER),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",  # Airflow queues no asset event for a paused DAG
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}
for name in (
    "WINDSOCK_MODELS_DIR",
    "WINDSOCK_TRAINING_CSV",
    "WINDSOCK_TRAINING_RUNS",
    "NOTIFICATION_EMAIL_TO",
):
    os.environ.pop(name, None)

# Airflow's own: its ignore files, the in-process execution API that `dag.test()` talks to, and the pipe that
# BashOperator reads and never closes (the name of a pipe is a number; a file that we leave open has a path).
AIRFLOW_S_WARNINGS = (
    r"ignore:GitWildMatchPattern \('gitwildmatch'\) is deprecated:DeprecationWarning",
    r"ignore:Using `httpx` with `starlette.testclient` is deprecated",
    r"ignore:The anyio.abc.BlockingPortal alias is deprecated:DeprecationWarning",
    r"ignore:unclosed file <_io.BufferedReader name=\d+>:ResourceWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    if "airflow" in sys.modules:
        raise pytest.UsageError(
            "tests/dags needs a process of its own: Airflow was imported with another home"
        )
    for warning in AIRFLOW_S_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def database() -> None:
    """Airflow's metadata database, as `airflow db migrate` makes it."""
    migrate = (sys.executable, "-m", "airflow", "db", "migrate")
    done = subprocess.run(migrate, capture_output=True, text=True, timeout=SUBPROCESS_SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def bag(database: None) -> BundleDagBag:
    """The DAGs as Airflow's own loader reads them."""
    from tests.dags.lab import read_dags

    return read_dags(DAGS_FOLDER)


@pytest.fixture(scope="session")
def mail_server() -> Iterator[SmtpSink]:
    with smtp_sink() as sink:
        yield sink


@pytest.fixture
def mailbox(mail_server: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> SmtpSink:
    """An empty mailbox behind `smtp_default`."""
    extra = {"from_email": "lab@example.com", "disable_ssl": True, "disable_tls": True, "retry_limit": 0}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail_server.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    mail_server.mails.clear()
    return mail_server


@pytest.fixture
def lab(
    bag: BundleDagBag, mailbox: SmtpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """The DAGs with no past: no runs, no asset events, no models."""
    from tests.dags.lab import Lab, forget_all

    forget_all()
    monkeypatch.setenv("WINDSOCK_MODELS_DIR", str(tmp_path / "models"))
    yield Lab(bag, tmp_path / "models")
    gc.collect()  # BashOperator's pipes: here the filter above holds, at the session's end it does not


@pytest.fixture(scope="session")
def table() -> DataFrame:
    """The bundled CSV's numbers."""
    from ml.load import load
    from ml.preprocess import preprocess
    from ml.settings import BUNDLED_CSV

    return preprocess(load(BUNDLED_CSV), str(BUNDLED_CSV))


@pytest.fixture(scope="session")
def parts(table: DataFrame) -> Split:
    from ml.split import split

    return split(table)


@pytest.fixture(scope="session")
def pair(parts: Split) -> Pair:
    """A model trained on the bundled CSV, with its scaler."""
    from ml.train import train

    return train(parts.train)
