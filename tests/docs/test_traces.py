"""docs/logs-and-traces.md, with the variables as it has them: the spans of a real Airflow, whose own traces
are on, and the monitor's are one trace, at one collector."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests import wait
from tests.airflow_server import AirflowServer
from tests.docs.page import commands
from tests.e2e.conftest import HERE, PLUGINS, RECIPIENT
from tests.every_end import every_end
from tests.monitor_process import MonitorProcess, airflow_env
from tests.smtp_server import SmtpServer
from tests.unit.otlp_collector import Collector, collecting

SPANS_SECONDS = 60.0
LAST = ("dag_run.fails", "send email")

pytestmark = pytest.mark.slow


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpServer]:
    server = SmtpServer(tmp_path).start()
    yield server
    server.stop()


def test_one_trace_from_airflows_scheduler_to_the_mail(
    collector: Collector, smtp: SmtpServer, tmp_path: Path
) -> None:
    of_the_monitor, of_airflow = (told(block, collector) for block in commands("logs-and-traces.md"))
    env = smtp.monitor_env() | every_end(tmp_path, [RECIPIENT], "none") | of_the_monitor
    monitor = MonitorProcess(tmp_path, env)
    plugin = monitor.plugin_env(tmp_path / "spool") | of_airflow
    try:
        with AirflowServer(HERE / "dags", plugins_folder=PLUGINS, env=plugin) as airflow:
            monitor.env |= airflow_env(airflow.url, airflow.username, airflow.password)
            monitor.start()
            airflow.trigger("fails")
            wait.until(lambda: all(map(collector.named, LAST)), "the last spans", SPANS_SECONDS)
    finally:
        monitor.stop()

    (run,), (task,) = collector.named("dag_run.fails"), collector.named("task_run.broken")
    assert not run.parent_id
    parents = {span.name: span.parent_id for span in collector.spans if span.trace_id == run.trace_id}
    assert parents["task_run.broken"] == run.span_id
    assert parents["log airflow.task_instance.failed"] == task.span_id
    assert parents["log airflow.dag_run.failed"] == parents["deliver email"] == run.span_id
    assert {"worker.broken", "confirm and render", "send email"} <= parents.keys()
    assert collector.services == {"airflow", "windsock"}


def told(block: str, collector: Collector) -> dict[str, str]:
    """The variables of a block; the collector is another, and spans are sent soon."""
    values = dotenv_values(stream=StringIO(block.replace("http://collector:4318", collector.url)))
    return {name: value or "" for name, value in values.items()} | {"OTEL_BSP_SCHEDULE_DELAY": "200"}
