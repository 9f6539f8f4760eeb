"""Started by `tests/compose/run`, which brings the stack up before and takes it down afterwards."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests import wait
from tests.compose.stack import Stack

PARSE_SECONDS = 120.0  # for the DAG processor to have read the DAGs
DAGS = ("Airflow_Lab2", "release", "scoring")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, with its DAGs read."""
    if "COMPOSE_PROJECT_NAME" not in os.environ:
        pytest.fail("no stack is up for these tests: start them with tests/compose/run", pytrace=False)
    with closing(Stack(os.environ)) as up:
        wait.until(
            lambda: all(up.airflow(f"dags/{dag}").is_success for dag in DAGS), "all DAGs", PARSE_SECONDS
        )
        yield up
