"""Each panel of the dashboard, asked of a real Prometheus that scraped a real monitor."""

import json
from typing import Any

import yaml

from monitor.clock import utc_now
from monitor.settings import Settings
from tests import wait
from tests.monitor_process import REPOSITORY
from tests.observability.prometheus_server import Prometheus, scraping
from tests.sample import START, run_event, task_event
from tests.unit.web_support import FeedReader, serving

GRAFANA = REPOSITORY / "compose/observability/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/windsock.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EMPTY = {
    *("Found only by the reconciler", "Comparisons", "Lag of the comparison", "Airflow answers in (99 %)"),
    *("What watches found", "Leaders", "Airflow unreachable"),
}
"""Of a monitor that asks no Airflow."""
SPOOL = "name=host-1;waiting=3;oldest=5;refused=1;failed=0"


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"].replace("$__rate_interval", "1m") for target in panel["targets"]]


def told(prometheus: Prometheus, panel: dict[str, Any]) -> bool:
    """Whether each of the panel's expressions gives a number that is one."""
    found = [prometheus.query(expression) for expression in expressions(panel)]
    return all(any(one["value"][1] != "NaN" for one in series) for series in found)


def test_every_panel_shows_what_a_monitor_tells(settings: Settings) -> None:
    now = (utc_now() - START).total_seconds() - 12
    with serving(settings) as monitor, scraping(f"127.0.0.1:{monitor.port}") as prometheus:
        wait.until(lambda: prometheus.query('up{job="windsock"} == 1'), "a first look", 30)
        with FeedReader(monitor.url) as reader:
            monitor.client.headers["windsock-spool"] = SPOOL
            for run in range(3):
                name, at = f"manual__{run}", now + run
                assert monitor.post([run_event("failed", "etl", name, at)]).status_code == 202
            monitor.post([task_event("failed", start=now)])
            reader.wait_for(4)
            lacking: list[str] = []

            def all_told() -> bool:
                lacking[:] = [panel["title"] for panel in PANELS if not told(prometheus, panel)]
                return set(lacking) <= EMPTY

            wait.until(all_told, f"each panel to show something: {lacking}", 60)
    assert set(lacking) <= EMPTY, lacking


def test_grafana_finds_what_the_dashboard_names() -> None:
    provisioning = GRAFANA / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/windsock.yaml").read_text())["datasources"]
    named = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert named == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards/windsock.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
