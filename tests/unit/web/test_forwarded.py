"""Whose failures are counted: a proxy's word on the client's address is taken from trusted proxies alone."""

from collections.abc import Iterator

import pytest

from monitor.settings import Settings
from monitor.web.auth import rate_limit
from tests.unit.conftest import FakeClock
from tests.unit.web.auth.test_authenticator import airflow
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

__all__ = ["airflow"]

ONE, OTHER, BEHIND = "203.0.113.7", "203.0.113.8", "10.1.2.3"


@pytest.fixture
def monitor(
    request: pytest.FixtureRequest, settings: Settings, airflow: SignInAirflow, clock: FakeClock
) -> Iterator[Served]:
    proxies = {"trusted_proxies": request.param}
    with serving(with_sign_in(settings, airflow).model_copy(update=proxies), clock) as monitor:
        yield monitor


def fail(monitor: Served, forwarded: str) -> int:
    headers = {"Authorization": "Bearer guess", "X-Forwarded-For": forwarded}
    return monitor.client.get("/api/v1/runs", headers=headers).status_code


def is_shut_out(monitor: Served, forwarded: str) -> bool:
    return fail(monitor, forwarded) == 429


@pytest.mark.parametrize("monitor", [("127.0.0.1",), ("127.0.0.0/8", "10.0.0.0/8")], indirect=True)
def test_behind_a_trusted_proxy_each_counts_alone(monitor: Served) -> None:
    for _ in range(rate_limit.FAILURES):
        assert fail(monitor, ONE) == 401
    assert is_shut_out(monitor, ONE)
    assert not is_shut_out(monitor, OTHER)
    assert is_shut_out(monitor, f"{OTHER}, {ONE}")  # what the client claims stands first, and is not believed


@pytest.mark.parametrize("monitor", [("127.0.0.0/8", "10.0.0.0/8")], indirect=True)
def test_the_last_address_that_is_no_proxys_counts(monitor: Served) -> None:
    for _ in range(rate_limit.FAILURES):
        assert fail(monitor, f"{ONE}, {BEHIND}") == 401
    assert is_shut_out(monitor, ONE)


@pytest.mark.parametrize("monitor", [(), ("10.0.0.0/8",)], indirect=True)
def test_nobody_else_is_believed(monitor: Served) -> None:
    for number in range(rate_limit.FAILURES):
        assert fail(monitor, f"203.0.113.{number}") == 401
    assert is_shut_out(monitor, ONE)
