"""The alert rules, by Prometheus' own tool: they are rules, each fires when it should and not when it should
not, and each has its page."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.observability.metrics import Metrics
from tests.monitor_process import REPOSITORY
from tests.observability.alerts import CASES, Case

CONFIGURATION = REPOSITORY / "compose/observability/prometheus"
RULES = CONFIGURATION / "windsock.rules.yml"
DASHBOARD = REPOSITORY / "compose/observability/grafana/dashboards/windsock.json"
RUNBOOKS = REPOSITORY / "docs/runbooks"
HEADINGS = ("## What it means", "## What users notice", "## How to look", "## How to mend it")


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", CONFIGURATION / "prometheus.yml")


@pytest.mark.slow
def test_every_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    file = tmp_path / "alerts.test.yml"
    tests = [entry for case in CASES for entry in (_test(case, True), _test(case, False))]
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "2m", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_every_alert_is_tried() -> None:
    tried = {(case.alert, case.severity) for case in CASES}
    assert {(alert["alert"], alert["labels"]["severity"]) for alert in alerts()} == tried


def test_every_metric_that_is_asked_for_is_there() -> None:
    known = {series for metric in Metrics().described for series in metric.series}
    text = RULES.read_text() + DASHBOARD.read_text()
    assert set(re.findall(r"\bwindsock_[a-z_]+", text)) <= known
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert set(re.findall(r"\bwindsock:[a-z0-9_:]+", text)) <= recorded


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    named = {alert["alert"] for alert in alerts()}
    assert {page.stem for page in RUNBOOKS.glob("Windsock*.md")} == named
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    for name in named:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n"), name
        assert [heading for heading in HEADINGS if heading not in text] == [], name


def _test(case: Case, fires: bool) -> dict[str, Any]:
    """A promtool unit test. What an alert says beside its name and severity is not held against it."""
    series = case.bad if fires else case.good
    firing = (
        f'count(ALERTS{{alertname="{case.alert}",severity="{case.severity}",alertstate="firing"}}) > bool 0'
    )
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": f"{case.alert} {case.severity} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{case.minutes}m", "exp_samples": expected}],
    }
