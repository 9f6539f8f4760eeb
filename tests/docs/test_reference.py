"""The reference pages are what the code says; the site's hooks."""

import pytest
from typer.testing import CliRunner

from monitor.cli.typer_app import cli
from scripts.docs_reference import plugin_settings, settings, site
from scripts.docs_reference.pages import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs-reference`"


def test_each_setting_says_what_it_means() -> None:
    assert settings.undocumented() == []


def test_each_setting_of_the_plugin_is_told_and_no_other() -> None:
    assert plugin_settings.names() == set(plugin_settings.MEANINGS)


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://www.example.com/a?b#c", True),
        ("http://localhost:8090", True),
        ("https://", False),
        ("https://no-dot/", False),
        ("https://a.example:port/", False),
        ("//cdn.example/x.js", True),
    ],
)
def test_addresses(address: str, good: bool) -> None:
    assert site.well_formed(address) is good


def test_the_variables_for_airflow_are_the_monitors_own(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whsec_" + "A" * 43 + "="
    told = {
        "WINDSOCK_AUTH": "none",
        "WINDSOCK_INGEST_SECRET": f"{secret} {secret}",
        "WINDSOCK_DEPLOYMENT": "emea",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    ran = CliRunner().invoke(cli, ["plugin-env", "--url", "https://windsock.example.com"])
    assert ran.stdout.splitlines() == [
        "AIRFLOW__WINDSOCK__MONITOR_URL=https://windsock.example.com",
        f"AIRFLOW__WINDSOCK__INGEST_SECRET='{secret} {secret}'",
        "AIRFLOW__WINDSOCK__DEPLOYMENT=emea",
    ]
    monkeypatch.delenv("WINDSOCK_INGEST_SECRET")
    assert "`windsock secret` prints one" in CliRunner().invoke(cli, ["plugin-env"]).output
