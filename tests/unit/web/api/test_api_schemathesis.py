"""Schemathesis against the API's own description, over HTTP, on a monitor that is full of data: no answer
that is not documented, and none that is the server's fault.

By hand, for longer: `WINDSOCK_SCHEMATHESIS_EXAMPLES=200 python -m pytest -s` and this file.
"""

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from monitor.clock import Clock, utc_now
from monitor.events.data import OWN
from monitor.events.identity import TRY
from monitor.settings import Settings
from tests import wait
from tests.monitor_process import PYTHONPATH
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.web_support import MONITOR_USER, Served, SignInAirflow, serving, with_sign_in

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2]
CONTRACT = HERE.parent / "contract"
EXAMPLES = int(os.environ.get("WINDSOCK_SCHEMATHESIS_EXAMPLES", "5"))
SEED = "20261125"
SECONDS = 580  # what hangs ends
NAMES = [f"run_{number}" for number in range(7)]
DAGS = ["etl", *NAMES]
LEAP = timedelta(seconds=31)  # ten wrong tokens are then further apart than the throttle looks


def leaping_clock() -> Clock:
    """Goes forward by each look at it: many a request here bears a wrong token, on purpose, and the brake on
    guessing would refuse all that come after."""
    began, ticks = utc_now(), itertools.count()
    return lambda: began + LEAP * next(ticks)


def fill(monitor: Served, client: httpx.Client) -> None:
    """Something in every list, and mails that were sent."""
    golden = [json.loads(path.read_text())["event"] for path in sorted(CONTRACT.glob("*.json"))]
    events = [
        *(  # without those that the monitor alone reports
            {**one, "time": one["time"] or moment(), "data": {**one["data"], "reported_by": "listener"}}
            for one in golden
            if not one["type"].startswith(OWN) and not one["id"].startswith(TRY)
        ),
        *(task_event("failed", run_id=name) for name in NAMES),
    ]
    events += [run_event("failed", dag_id=name, run_id="manual__1") for name in DAGS]
    events += [asset_event(number, f"file:///{number}") for number in range(7)]
    assert monitor.post(events).json()["rejected"] == 0
    for name in NAMES:
        silence = {"match": {"deployment": "local", "dag_id": name}, "reason": "works", "duration": "1d"}
        assert client.post("/api/v1/silences", json=silence).status_code == 201
    wait.until(lambda: client.get("/api/v1/deliveries").json()["deliveries"], "something to be told")


def look(monitor: Served, where: Path, token: str = "") -> set[str]:
    """Run Schemathesis; answers which operations did what they were asked. Fails with its report where it
    found something."""
    answers = where / "answers"
    secret = monitor.settings.ingest_secret[0].get_secret_value()
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
    run = ["run", f"{monitor.url}/openapi.json", "--seed", SEED, "--max-examples", str(EXAMPLES)]
    found = subprocess.run(
        [*program, *run, "--continue-on-failure", "--no-color"],
        cwd=where,
        env={
            **os.environ,
            "PYTHONPATH": PYTHONPATH,
            "SCHEMATHESIS_HOOKS": "tests.unit.schemathesis_hooks",
            "WINDSOCK_TEST_SECRET": secret,
            "WINDSOCK_TEST_TOKEN": token,
            "WINDSOCK_TEST_ANSWERS": str(answers),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2_000:]
    seen = Counter(answers.read_text().splitlines())
    print(found.stdout, "\n".join(f"{number:6} {name}" for name, number in sorted(seen.items())))  # noqa: T201
    return {name for name, status in map(str.split, seen) if status[0] == "2"}


SOMEBODYS = {"makeToken", "revokeToken"}
"""Not for an Airflow token: nobody knows whose it is. Without sign-in they are looked at."""

OF_HEALTH = {"getHealth", "getReadiness"}
"""By a clock that leaps the last write is long ago, and 503 is what they are to answer."""


def operations(monitor: Served) -> set[str]:
    """Those that end."""
    paths = monitor.client.get("/openapi.json").json()["paths"]
    return {one["operationId"] for path in paths.values() for one in path.values()} - {"followEvents"}


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The settings of a monitor on each database in turn."""
    if request.param == "sqlite":
        return settings
    return settings.model_copy(update={"database_url": request.getfixturevalue("postgres_url")})


@pytest.fixture
def airflow() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.dags[MONITOR_USER[0]] = DAGS
        airflow.add("chief", "the chief's secret", DAGS)
        yield airflow


def test_no_answer_is_undocumented(stored: Settings, tmp_path: Path) -> None:
    with serving(stored) as monitor:
        fill(monitor, monitor.client)
        assert look(monitor, tmp_path) == operations(monitor)
        assert not monitor.fatal


def test_no_answer_is_undocumented_with_sign_in(
    stored: Settings, airflow: SignInAirflow, tmp_path: Path
) -> None:
    with serving(with_sign_in(stored, airflow), leaping_clock()) as monitor:
        token = airflow.token("chief")
        monitor.client.headers["Authorization"] = f"Bearer {token}"
        fill(monitor, monitor.client)
        assert look(monitor, tmp_path, token) | OF_HEALTH == operations(monitor) - SOMEBODYS
        assert not monitor.fatal
