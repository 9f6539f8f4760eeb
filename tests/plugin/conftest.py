"""Airflow is real and importable here; its home is a folder of this run, set before anything imports it."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

HOME = tempfile.mkdtemp(prefix="windsock-test-", dir="/tmp")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
)

from airflow_windsock.events import Event, complete_event, report, serialize  # noqa: E402
from airflow_windsock.settings import Endpoint, Settings  # noqa: E402
from tests.plugin.receiver import Receiver  # noqa: E402 (after the environment is set)

WAIT = 20.0  # seconds: a deadline for what takes milliseconds, on a machine that is busy


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the condition did not come true")
        time.sleep(0.005)


def built(hook: str, source: str, *objects: object) -> Event:
    """The event of a hook's call, by way of what is kept of it."""
    kept = serialize(report(hook, source, *objects))
    return cast("Event", json.loads(complete_event(kept, time.time_ns())))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, receiver: Receiver) -> Settings:
    return Settings(
        deployment="local",
        spool_dir=tmp_path / "spool",
        endpoint=Endpoint(tls=False, host="127.0.0.1", port=receiver.port, path="/api/v1/events"),
        secrets=(receiver.secret,),
    )
