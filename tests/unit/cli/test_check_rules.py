"""What `windsock check` says of settings and rules in one round, and of rules that notify nobody."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.cli.check import check
from monitor.cli.check_files import CheckResult
from monitor.cli.typer_app import cli
from monitor.settings import Settings
from monitor.settings_loading import load_environment, load_settings
from tests.ports import free_port


def settings(home: Path, config: Path | None = None) -> Settings:
    return load_settings(env_file=None, home=home, config=config, auth="none", port=free_port())


def finding(of: Settings, environment: Mapping[str, str] | None = None) -> CheckResult:
    found = asyncio.run(check(of, environment, lambda url: None if url.startswith("slack:") else "unknown"))
    return next(one for one in found if one.name == "rules")


def test_no_file(tmp_path: Path) -> None:
    found = finding(settings(tmp_path))
    assert found.ok
    assert found.detail == f"no file at {tmp_path / 'windsock.yaml'}: the 4 default rules hold"


def test_the_file_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "windsock.yaml").write_text(
        "rules: [{name: a}]\nreceivers: {ops: {apprise: '${URL}'}}\nwatches: [{name: mail, off: true}]"
    )
    found = finding(settings(tmp_path), {"URL": "slack://a/b/c"})
    assert found.ok, found
    assert found.detail == f"{tmp_path / 'windsock.yaml'}: rules 1, receivers 2, watches 5"


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    found = finding(settings(tmp_path, tmp_path / "gone.yaml"))
    assert not found.ok
    assert "gone.yaml: cannot be read (No such file or directory)" in found.detail
    assert "WINDSOCK_CONFIG" in found.detail


def test_each_mistake_has_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(
        "rules:\n- name: a\n  tel: x\n- name: b\n  notify_on: y\nreceivers: {o: {apprise: foo://hush}}\n"
    )
    found = finding(settings(tmp_path, file))
    assert not found.ok
    assert [line.split(": ")[0] for line in found.detail.splitlines()] == [
        f"{file} cannot be used:",
        "other.yaml:3",
        "other.yaml:5",
        "other.yaml:6",
    ]
    assert "docs/rules.md" in found.remedy
    detail = found.detail
    assert "receivers.o.apprise" in detail
    assert "unknown" in detail
    assert "hush" not in detail


def test_variables_come_from_the_environment_and_beneath_it_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SLACK_URL='slack://file'\nBOTH=file\nWITHOUT\n")
    environment = load_environment({"BOTH": "environment"}, file)
    assert environment == {"SLACK_URL": "slack://file", "BOTH": "environment"}
    assert load_environment({"A": "b"}, tmp_path / "gone") == {"A": "b"}


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_CONFIG", "/etc/windsock/windsock.yaml")
    named = load_settings(env_file=None, home=tmp_path, auth="none")
    assert named.rules_file == Path("/etc/windsock/windsock.yaml")
    assert settings(tmp_path).rules_file == tmp_path / "windsock.yaml"


def run_check(home: Path, **environment: str) -> Result:
    chosen = {"WINDSOCK_HOME": str(home), "WINDSOCK_AUTH": "none", "WINDSOCK_PORT": str(free_port())}
    return CliRunner().invoke(cli, ["check"], env={**chosen, **environment})


def test_settings_rules_and_templates_are_mended_in_one_round(tmp_path: Path) -> None:
    (tmp_path / "windsock.yaml").write_text("rules:\n- name: a\n  to: nobody\n- notify_on: y\n  name: b\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "digest.html.j2").write_text("{{ nothing }}")
    done = run_check(
        tmp_path,
        WINDSOCK_TELL_WITHIN_HOURS="24",
        WINDSOCK_RETENTION_DAYS="x",
        WINDSOCK_PUBLIC_URL="nowhere",
        WINDSOCK_SMTP_OAUTH2_REFRESH_TOKEN="r",
        WINDSOCK_SMTP_PASSWORD_FILE=str(tmp_path / "gone"),
        WINDSOCK_SMPT_HOST="mail.example.com",
        WINDSOCK_TEMPLATES=str(tmp_path / "templates"),
    )
    assert done.exit_code == 2, done.output
    for words in (
        "WINDSOCK_TELL_WITHIN_HOURS: is now called",
        "WINDSOCK_RETENTION_DAYS",
        "WINDSOCK_PUBLIC_URL",
        "smtp_oauth2_refresh_token: needs smtp_oauth2_client_id",
        "WINDSOCK_SMTP_PASSWORD_FILE",
        "WINDSOCK_SMPT_HOST is no setting; did you mean WINDSOCK_SMTP_HOST?",
        "windsock.yaml:3: rules[0].to",
        "windsock.yaml:4: rules[1].notify_on",
        "your template digest",
    ):
        assert words in done.output
    assert "Traceback" not in done.output


def test_what_only_follows_from_a_wrong_setting_is_not_said(tmp_path: Path) -> None:
    done = run_check(
        tmp_path, WINDSOCK_AIRFLOW_URL="http://airflow:8080", WINDSOCK_AIRFLOW_PASSWORD_FILE="gone"
    )
    assert "WINDSOCK_AIRFLOW_PASSWORD_FILE: 'gone'" in done.output
    assert "airflow_url: needs" not in done.output
    assert done.exit_code == 2


def test_exit_status(tmp_path: Path) -> None:
    secret = {"WINDSOCK_INGEST_SECRET": "whsec_" + "A" * 32}
    warned = run_check(tmp_path, **secret)
    assert warned.exit_code == 0, warned.output
    assert "warning  rules: the default rules notify nobody" in warned.output
    assert warned.output.endswith("0 broken, 1 warnings\n")
    quiet = run_check(tmp_path, NOTIFICATION_EMAIL_TO="ops@example.com", **secret)
    assert quiet.exit_code == 0
    assert "warning" not in quiet.output
    assert run_check(tmp_path).exit_code == 1  # no ingest secret


IDLE = [
    ("{name: a, to: default}", "default has no address; set NOTIFICATION_EMAIL_TO"),
    ("{name: a, to: x@y.z, match: {type: airflow.dag_run.failed}, notify_on: success}", "call for every_f"),
    ("{name: a, to: x@y.z, match: {type: 'airflow.dag_run.*', task_id: load}}", "no type of event has all"),
    (
        "{name: a, to: x@y.z, match: {any_of: [{type: windsock.mail.failing, dag_id: x}]}}",
        "no type of event",
    ),
    (
        "{name: z, to: z@y.z, last: true}, {name: a, to: x@y.z, match: {dag_id: x}}",
        "rule 'z' above takes",
    ),
    (
        "{name: z, to: z@y.z, last: true, match: {dag_id: 'e*'}}, {name: a, to: x@y.z, match: {dag_id: etl}}",
        "rule 'z' above takes",
    ),
]


@pytest.mark.parametrize(("rules", "words"), IDLE)
def test_a_rule_that_notifies_nobody_is_a_warning_with_its_line(
    tmp_path: Path, rules: str, words: str
) -> None:
    (tmp_path / "windsock.yaml").write_text(f"rules: [{rules}]\n")
    found = [one for one in asyncio.run(check(settings(tmp_path))) if one.is_warning]
    assert len(found) == 1
    assert found[0].ok
    assert found[0].detail.startswith("windsock.yaml:1: rules[")
    assert "rule 'a' notifies nobody: " in found[0].detail
    assert words in found[0].detail


@pytest.mark.parametrize(
    "rules",
    [
        "{name: a, to: x@y.z}",
        "{name: a}",  # a DAG may name somebody
        "{name: z, to: z@y.z, match: {dag_id: etl}, last: true}, {name: a, to: x@y.z, match: {dag_id: 'e*'}}",
        "{name: z, to: z@y.z, match: {none_of: [{tags: x}]}, last: true}, {name: a, to: x@y.z}",
        "{name: a, to: x@y.z, match: {type: airflow.dag_run.success}}",  # its recovered
        "{name: a, to: x@y.z, match: {type: 'airflow.*', task_id: x, attempt: 2}, notify_on: every_failure}",
    ],
)
def test_a_rule_that_may_notify_is_none(tmp_path: Path, rules: str) -> None:
    (tmp_path / "windsock.yaml").write_text(f"rules: [{rules}]\n")
    assert not [
        one
        for one in asyncio.run(check(settings(tmp_path)))
        if one.is_warning or (not one.ok and one.name == "rules")
    ]
