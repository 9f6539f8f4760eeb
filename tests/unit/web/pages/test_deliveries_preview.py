"""What a delivery says is shown on its page before it is sent, and where no copy of it is kept."""

from collections.abc import Iterator

import httpx
import pytest

from monitor.settings import Settings
from tests.ports import free_port
from tests.sample import run_event, task_event
from tests.unit.web_support import Served, SignInAirflow, serving, try_to_sign_in, with_sign_in

ERROR = {"type": "ValueError", "message": "column <b>'target'</b> is missing"}
FRAME = "/deliveries/1/html"


@pytest.fixture
def unsent(settings: Settings) -> Settings:
    """Its mail server is away, so that nothing is sent."""
    away = {"smtp_host": "127.0.0.1", "smtp_port": free_port(), "smtp_security": "none"}
    return settings.model_copy(update=away)


@pytest.fixture
def monitor(unsent: Settings) -> Iterator[Served]:
    with serving(unsent) as monitor:
        yield monitor


def fail(monitor: Served, dag_id: str = "etl") -> None:
    monitor.post([task_event("failed", "extract", dag_id, error=ERROR)])
    monitor.post([run_event("failed", dag_id, message="task_failure")])


def test_what_will_be_sent_is_shown(monitor: Served) -> None:
    fail(monitor)
    page = monitor.client.get("/deliveries/1").text
    assert f'sandbox="" src="{FRAME}"' in page
    shown = monitor.client.get(FRAME)
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "etl" in shown.text
    assert "column &lt;b&gt;" in shown.text
    assert "/links/" not in shown.text, "what acts for whoever holds it is the recipient's"


def test_there_is_nothing_to_show_of_what_is_not_there(monitor: Served) -> None:
    fail(monitor)
    for path in ("/deliveries/99/html", "/deliveries/x/html"):
        assert monitor.client.get(path).status_code in (404, 422)


def test_it_is_for_those_who_may_read_its_dag(unsent: Settings) -> None:
    airflow = SignInAirflow()
    airflow.add("jane", "j", ["etl"])
    airflow.add("joe", "j", ["reports"])
    airflow.add("monitor", airflow.passwords["monitor"], ["etl", "reports"])
    with airflow.serving(), serving(with_sign_in(unsent, airflow)) as monitor:
        fail(monitor)
        for user, status in (("jane", 200), ("joe", 404)):
            with httpx.Client(base_url=monitor.url) as browser:
                try_to_sign_in(browser, user, "j")
                assert browser.get(FRAME).status_code == status
