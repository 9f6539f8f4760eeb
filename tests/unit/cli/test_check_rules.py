"""What `windsock check` says of the rules file, and where settings look for it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.cli.check import CheckResult, check
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
    ]
    assert "docs/rules.md" in found.remedy
    file.write_text("receivers: {o: {apprise: 'foo://hush'}}\n")
    detail = finding(settings(tmp_path, file)).detail
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
