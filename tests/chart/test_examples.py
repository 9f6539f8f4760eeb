"""What charts/examples say to the monitor is what it takes; and what helm says after an installation."""

from pathlib import Path

import pytest

from monitor.clock import utc_now
from monitor.delivery.channels.apprise import check_apprise_url
from monitor.delivery.messages.renderer import Renderer
from monitor.rules.loader import default_config, load_config
from tests.chart import helm
from tests.chart.cases import CASES, SMALLEST
from tests.chart.helm import Manifest, example, merged

VALUES = example("monitor-postgresql")


def test_the_rules_are_ones_that_the_monitor_takes(tmp_path: Path) -> None:
    file = tmp_path / "windsock.yaml"
    file.write_text(VALUES["rules"])
    environment = {"SLACK_URL": "json://localhost"}  # the Secret of extraEnvFrom
    config = load_config(file, environment, default_config((), ()), check_apprise_url)
    assert [rule.name for rule in config.rules] == ["production"]


def test_the_template_is_one_that_the_monitor_takes(tmp_path: Path) -> None:
    for name, text in VALUES["mailTemplates"].items():
        (tmp_path / name).write_text(text)
    renderer = Renderer("a@example.com", "http://localhost", {}, utc_now, overrides=tmp_path)
    mail = renderer.preview("recovered")
    assert mail.problem is None
    assert "is well again." in mail.text


def notes(values: Manifest) -> str:
    said = helm.run("install", helm.RELEASE, helm.CHART, "--dry-run=client", values=values)
    return said.partition("NOTES:")[2]


@pytest.mark.parametrize("case", CASES)
def test_helm_says_how_the_plugin_reaches_it(case: str) -> None:
    name = CASES[case].get("fullnameOverride", helm.RELEASE)
    assert f"MONITOR_URL=http://{name}.default:8090" in notes(CASES[case])


def test_helm_says_what_is_not_set() -> None:
    said = notes(SMALLEST)
    assert [
        word for word in ("smtp_host", "notification_email_to", "session_secret") if word not in said
    ] == []
    whole = notes(example("monitor-sqlite"))
    assert [word for word in ("smtp_host", "notification_email_to", "session_secret") if word in whole] == []
    behind = merged(SMALLEST, {"ingress": {"enabled": True, "host": "windsock.example.com"}})
    assert "trusted_proxies" in notes(behind)
