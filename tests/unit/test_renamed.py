"""An old name is refused with the new one, and a variable that is no setting is reported."""

import asyncio
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli.check import check
from monitor.cli.typer_app import cli
from monitor.errors import SettingsError
from monitor.renamed import RULE_FIELDS, SETTINGS, TEMPLATE_NAMES, hint
from monitor.rules.loader import default_config, load_config
from monitor.rules.yaml_source import RulesError
from monitor.settings import Settings
from monitor.settings_loading import load_settings, unknown_variables, variables
from tests.docs.page import DOCS
from tests.unit.delivery.messages.test_renderer import LETTER, a_run, a_story, renderer


@pytest.mark.parametrize("command", ["serve", "check", "migrate"])
@pytest.mark.parametrize(("old", "new"), SETTINGS.items())
def test_a_setting_by_its_old_name_is_refused(tmp_path: Path, old: str, new: str, command: str) -> None:
    environment = {"WINDSOCK_HOME": str(tmp_path), "WINDSOCK_AUTH": "none", new: "24", old: "24"}
    done = CliRunner().invoke(cli, [command], env=environment)
    assert done.exit_code == 2
    assert f"{old}: is now called {new}" in done.output


def test_so_is_one_in_env(tmp_path: Path) -> None:
    (old, new), *_ = SETTINGS.items()
    file = tmp_path / ".env"
    file.write_text(f"{old}=\n")
    with pytest.raises(SettingsError, match=new):
        load_settings(file, home=tmp_path, auth="none")


@pytest.mark.parametrize(("old", "new"), RULE_FIELDS.items())
def test_a_field_of_a_rule_by_its_old_name_is_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "windsock.yaml"
    file.write_text(f"rules:\n- name: a\n  {old}: success\n")
    with pytest.raises(RulesError) as caught:
        load_config(file, {}, default_config([], []))
    assert str(caught.value) == f"windsock.yaml:3: rules[0].{old}: is now called {new}; write that instead"


def test_no_old_name_is_in_use_and_each_new_one_is() -> None:
    names = set(variables().values())
    assert set(SETTINGS.values()) <= names
    assert not set(SETTINGS) & names


def test_the_page_has_each_of_them() -> None:
    page = (DOCS / "upgrade.md").read_text()
    for old, new in (*SETTINGS.items(), *RULE_FIELDS.items()):
        assert f"`{old}` | `{new}`" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "WINDSOCK_SMTP_SECURTY",
            "WINDSOCK_SMTP_SECURTY is no setting; did you mean WINDSOCK_SMTP_SECURITY?",
        ),
        ("WINDSOCK_QUUX", "WINDSOCK_QUUX is no setting"),
        (
            "WINDSOCK_SESSION_SECRETS_FILE",
            "WINDSOCK_SESSION_SECRETS_FILE is no setting; did you mean WINDSOCK_SESSION_SECRET_FILE?",
        ),
        ("WINDSOCK_SMTP_PASSWORD_FILE", None),
        ("WINDSOCK_NOTIFICATION_EMAIL_TO", None),
        ("windsock_port", None),  # the environment is read without regard to case
        ("WINDSOCK_TRAINING_CSV", None),
        ("WINDSOCK_TOKEN", None),
        ("WINDSOCK_OF_THE_RULES", None),
        ("AIRFLOW__WINDSOCK__MONITOR_URL", None),
    ],
)
def test_a_variable_that_is_no_setting(name: str, said: str | None) -> None:
    found = list(unknown_variables({name: "x", "PATH": "/bin"}, {"WINDSOCK_OF_THE_RULES"}))
    assert found == ([said] if said else [])


def test_check_reports_it_but_not_what_the_rules_ask_for(settings: Settings) -> None:
    settings.rules_file.write_text("receivers: {default: {email: '${WINDSOCK_WHOM}'}}\n")
    known = {"WINDSOCK_WHOM": "ops@example.com"}

    def found(environment: dict[str, str]) -> tuple[bool, str]:
        (one,) = (one for one in asyncio.run(check(settings, environment)) if one.name == "settings")
        return one.ok, one.detail

    assert found(known)[0]
    ok, detail = found({**known, "WINDSOCK_SMPT_HOST": "mail.example.com"})
    assert not ok
    assert detail == "WINDSOCK_SMPT_HOST is no setting; did you mean WINDSOCK_SMTP_HOST?"


def test_serve_warns_of_it(tmp_path: Path) -> None:
    """Before it ends, here for lack of the rules file."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WINDSOCK_")},
        "WINDSOCK_HOME": str(tmp_path),
        "WINDSOCK_AUTH": "none",
        "WINDSOCK_CONFIG": str(tmp_path / "gone"),
        "WINDSOCK_SMPT_HOST": "mail.example.com",
    }
    done = CliRunner().invoke(cli, ["serve"], env=environment)
    assert done.exit_code == 2
    assert "WINDSOCK_SMPT_HOST is no setting; did you mean WINDSOCK_SMTP_HOST?" in done.output


@pytest.mark.parametrize(("old", "new"), TEMPLATE_NAMES.items())
def test_a_template_with_an_old_name_says_the_new_one(old: str, new: str) -> None:
    assert hint(f"UndefinedError: '{old}' is undefined") == f"; it is now called {new}"
    assert hint(f"UndefinedError: '{new}' is undefined") == ""
    assert old in (DOCS / "upgrade.md").read_text()


def test_so_the_mail_is_the_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "notice.html.j2").write_text("{{ story.subject }}")
    (tmp_path / "notice.txt.j2").write_text("{% block subject %}{{ story.subject }}{% endblock %}")
    rendered = renderer(overrides=tmp_path).render("notice", a_story(a_run()), LETTER)
    assert rendered.problem is not None
    assert "'story' is undefined; it is now called message" in rendered.problem
