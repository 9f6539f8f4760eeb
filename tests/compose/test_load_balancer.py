"""nginx in front of the replicas, on `scale`: clients keep their addresses, a new container is found."""

import os

import httpx
import pytest

from tests import wait
from tests.compose.engine import docker
from tests.compose.stack import Stack

HEALTH_SECONDS = 120.0
TRIES = 60  # ten wrong tokens are enough for one replica, and there are two
GUESS = """
import sys, urllib.error, urllib.request
url = "http://load-balancer:8090/api/v1/events"
for guess in range(%d):
    headers = {"Authorization": f"Bearer wrong-{guess}", "X-Forwarded-For": f"198.51.100.{guess}"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        if error.code == 429:
            sys.exit("shut out")
"""

pytestmark = pytest.mark.skipif(
    "scale" not in os.environ.get("COMPOSE_PROFILES", "").split(","), reason="the profile scale is not up"
)


def test_who_guesses_is_shut_out_by_its_real_address_and_nobody_else(stack: Stack) -> None:
    guesser = stack.engine.containers()["airflow-triggerer"]["Id"]
    assert (
        docker("exec", guesser, "sh", "-c", f"python -c '{GUESS % TRIES}' 2>&1 || true").strip() == "shut out"
    )
    assert stack.monitor("api/v1/events").status_code == httpx.codes.OK


def test_a_replica_with_another_address_is_found(stack: Stack) -> None:
    """The other one is away meanwhile, so that only the new address can answer."""
    one, other = (stack.engine.containers()[name]["Id"] for name in ("monitor-1", "monitor-2"))
    network = f"{os.environ['COMPOSE_PROJECT_NAME']}_replicas"
    docker("kill", other)
    try:
        docker("network", "disconnect", network, one)
        docker(
            "network",
            "connect",
            "--alias",
            "replica",
            "--ip",
            f"{os.environ['REPLICAS_PREFIX']}.14",
            network,
            one,
        )
        wait.until(lambda: stack.monitor("readyz").is_success, "the new address", HEALTH_SECONDS)
    finally:
        docker("start", other)
    assert all(stack.monitor("readyz").is_success for _ in range(10))
