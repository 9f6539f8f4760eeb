"""Health: each part named, 503 where one does not work, probes and metrics."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from monitor.settings import Settings
from tests import wait
from tests.sample import run_event
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow
from tests.unit.airflow_api_fake import serving as airflow_serving
from tests.unit.conftest import FakeClock
from tests.unit.web_support import SignInAirflow, serving, with_sign_in


def test_a_monitor_on_its_own_is_well(settings: Settings) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event("failed")])
        mailbox = monitor.app.state.services.mailbox
        wait.until(lambda: len(mailbox.mails(10)) == 1, "the mail")
        answer = monitor.client.get("/health")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"
        parts = answer.json()["parts"]
        assert {name: part["status"] for name, part in parts.items()} == {
            "database": "ok",
            "log": "ok",
            "mail": "ok",
            "deliveries": "ok",
            "airflow": "unknown",
            "spool": "unknown",
        }
        assert "1 of 1 events" in parts["log"]["detail"]
        assert "WINDSOCK_AIRFLOW_URL" in parts["airflow"]["detail"]


def test_a_template_that_fails_is_named_and_the_mail_is_sent(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "own templates"
    folder.mkdir()
    file = folder / "run_failed.txt.j2"
    file.write_text("{% block subject %}x{% endblock %}{% for a in range(10**9) %}{% endfor %}")
    with serving(settings.model_copy(update={"templates": folder})) as monitor:
        monitor.post([run_event("failed")])
        mailbox = monitor.app.state.services.mailbox
        wait.until(lambda: len(mailbox.mails(10)) == 1, "the mail")
        answer = monitor.client.get("/health")
        part = answer.json()["parts"]["templates"]
        metrics = monitor.client.get("/metrics").text
    assert (answer.status_code, part["status"]) == (503, "down")
    assert part["detail"].startswith("your template ")
    assert "windsock preview" in part["remedy"]
    assert "windsock_template_failures_total 1.0" in metrics


def test_an_airflow_that_is_away_is_down(settings: Settings) -> None:
    with SignInAirflow().serving() as airflow:
        with_airflow = with_sign_in(settings, airflow).model_copy(
            update={"auth": "none", "reconcile_interval": 0.05}
        )
        with serving(with_airflow) as monitor:

            def status() -> str:
                part = monitor.client.get("/health").json()["parts"]["airflow local"]
                return str(part["status"])

            wait.until(lambda: status() == "ok", "Airflow to be compared")
            assert monitor.client.get("/health").json()["parts"]["airflow local"]["at"]
            airflow.away = True
            wait.until(lambda: status() == "down", "the failure to be seen")
            assert monitor.client.get("/health").status_code == 503
            assert monitor.client.get("/readyz").status_code == 200
            page = monitor.client.get("/").text
            assert "airflow local" in page


def test_a_component_of_airflow_that_has_died_is_down(settings: Settings, clock: FakeClock) -> None:
    fake = FakeAirflow(clock)
    fake.health = {
        "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-11-22T10:00:00.1+00:00"},
        "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
        "dag_processor": {
            "status": "unhealthy",
            "latest_dag_processor_heartbeat": "2026-11-22T09:00:00+00:00",
        },
    }
    with airflow_serving(fake):
        update = {
            "airflow_url": fake.url,
            "airflow_username": USERNAME,
            "airflow_password": SecretStr(PASSWORD),
        }
        with serving(settings.model_copy(update=update)) as monitor:
            answer = monitor.client.get("/health")
            parts = answer.json()["parts"]
            assert answer.status_code == 503
            assert parts["scheduler local"]["status"] == "ok"
            assert "triggerer local" not in parts
            dead = parts["dag-processor local"]
            assert (dead["status"], dead["at"]) == ("down", "2026-11-22T09:00:00+00:00")
            assert "`airflow dag-processor`" in dead["remedy"]
            fake.health["dag_processor"]["status"] = "healthy"
            for _ in range(5):
                monitor.client.get("/health")
            assert len([one for one in fake.asked if "monitor/health" in one]) == 1


@pytest.mark.parametrize("path", ["/health", "/readyz"])
def test_a_database_that_is_gone_is_down(settings: Settings, path: str) -> None:
    with serving(settings) as monitor:
        database = monitor.app.state.services.database
        database.write_now(lambda connection: connection.exec_driver_sql("ALTER TABLE log_state RENAME TO x"))
        try:
            answer = monitor.client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "down")
            assert monitor.client.get("/livez").status_code == 200
        finally:
            database.write_now(
                lambda connection: connection.exec_driver_sql("ALTER TABLE x RENAME TO log_state")
            )


def test_a_mail_server_that_refuses_is_down(settings: Settings, tmp_path: Path) -> None:
    """The mailbox's folder is a file, so no mail can be filed."""
    (tmp_path / "mailbox").write_text("in the way")
    with serving(settings) as monitor:
        monitor.post([run_event("failed")])
        wait.until(lambda: monitor.client.get("/health").status_code == 503, "the failure to be seen")
        assert monitor.client.get("/health").json()["parts"]["mail"]["status"] == "down"


def test_metrics_are_prometheus_text(settings: Settings) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event(), run_event()])
        answer = monitor.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        found = {
            (sample.name, sample.labels.get("result")): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.labels.get("reported_by", "listener") == "listener"
        }
        assert found["windsock_events_total", "accepted"] == 1
        assert found["windsock_events_total", "duplicate"] == 1
        assert ("windsock_feed_subscribers", None) in found
