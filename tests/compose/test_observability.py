"""Prometheus scrapes every monitor and has loaded the rules; Grafana has its datasource and dashboard."""

import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import wait
from tests.compose.engine import docker
from tests.compose.stack import ADDRESS, Stack

ROOT = Path(__file__).parents[2]
RULES = ROOT / "compose" / "observability" / "prometheus" / "windsock.rules.yml"
SCRAPE_SECONDS = 90.0  # the name server is asked every 15, then each monitor

pytestmark = pytest.mark.skipif(
    "observability" not in os.environ.get("COMPOSE_PROFILES", "").split(","),
    reason="the profile observability is not up",
)


def asked(name: str, path: str) -> Any:
    url = f"http://{ADDRESS}:{os.environ[f'{name}_PORT']}{path}"
    return httpx.get(url, trust_env=False).raise_for_status().json()


def test_every_monitor_is_scraped(stack: Stack) -> None:
    monitors = {name for name in stack.engine.containers() if re.fullmatch(r"monitor(-\d)?", name)}

    def up() -> bool:
        targets = asked("PROMETHEUS", "/api/v1/targets?state=active")["data"]["activeTargets"]
        return [target["health"] for target in targets] == ["up"] * len(monitors)

    wait.until(up, f"{sorted(monitors)} to be scraped", SCRAPE_SECONDS)


def test_every_alert_rule_is_loaded_and_can_be_evaluated(stack: Stack) -> None:
    written = set(re.findall(r"- alert: (\w+)", RULES.read_text()))

    def loaded() -> dict[str, str]:
        groups = asked("PROMETHEUS", "/api/v1/rules?type=alert")["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wait.until(lambda: loaded() == dict.fromkeys(written, "ok"), "the rules to be evaluated", SCRAPE_SECONDS)


def test_grafana_has_its_dashboards(stack: Stack) -> None:
    assert asked("GRAFANA", "/api/health")["database"] == "ok"
    log = docker("logs", stack.engine.containers()["grafana"]["Id"])
    assert "1 datasource(s), 1 dashboard(s)" in log or "stand-in" not in log
