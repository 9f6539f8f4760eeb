"""The upgrade of an installation from before the names of today, step by step as docs/upgrade.md says.

`checkout/` holds such an installation, made by the monitor and the plugin of that time. The clock of
these tests starts at the moment at which that monitor stopped, so nothing in the installation expires.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from dotenv import dotenv_values
from sqlalchemy import MetaData, Select, Table, create_engine, text
from typer.testing import CliRunner

import monitor.cli.main  # noqa: F401 (declares the commands)
from monitor.cli.typer_app import cli
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.renamed import RULE_FIELDS, SETTINGS
from monitor.settings_loading import load_settings
from tests import wait
from tests.docs.page import DOCS
from tests.monitor_process import REPOSITORY
from tests.smtp_server import SmtpServer
from tests.unit.conftest import FakeClock
from tests.unit.web_support import FeedReader, Served, SignInAirflow, serving, try_to_sign_in

CHECKOUT = Path(__file__).parent / "checkout"
HANDED_OUT = json.loads((CHECKOUT / "handed_out.json").read_text())
"""What people, programs and mails have of the old monitor."""
SETTINGS_FILE, RULES_FILE = "settings.env", "windsock.yaml"
USERS = {"alice": ["etl", "load", "report"], "root": ["etl", "load", "report", "noisy", "nightly"]}
WORD = r"(?<![\w.])({})(?!\w)"
JINJA = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)


def renames(about: str) -> dict[str, str]:
    """Return the names in one table of docs/upgrade.md, each with its new one."""
    page = (DOCS / "upgrade.md").read_text()
    table = re.search(rf"^\| {about} \| now \|\n\|---\|---\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    assert table, about
    found: dict[str, str] = {}
    for row in table[1].splitlines():
        old, new = (re.findall(r"`([^`]+)`", cell) for cell in row.strip("|").split("|"))
        found |= dict(zip(old, new, strict=True))
    return found


def rename(content: str, names: Mapping[str, str], end: str = "") -> str:
    longest_first = sorted(names, key=len, reverse=True)
    word = re.compile(WORD.format("|".join(map(re.escape, longest_first))) + end)
    return word.sub(lambda match: names[match[1]], content)


def rename_in_template(content: str) -> str:
    names = renames("mail templates of one's own")
    return JINJA.sub(lambda match: rename(match[0], names), content)


@dataclass
class Installation:
    """A home, its settings, and what is around the monitor: an Airflow, a mail server, a clock."""

    home: Path
    url: str
    airflow: SignInAirflow
    mail: SmtpServer
    clock: FakeClock

    def environment(self, is_renamed: bool = True) -> dict[str, str]:
        content = (self.home / SETTINGS_FILE).read_text()
        (self.home / "shown.env").write_text(rename(content, renames("settings")) if is_renamed else content)
        kept = {name: value or "" for name, value in dotenv_values(self.home / "shown.env").items()}
        moved = {
            "WINDSOCK_HOME": str(self.home),
            "WINDSOCK_PORT": "0",
            "WINDSOCK_DATABASE_URL": self.url if self.is_postgresql else "",
            "WINDSOCK_AIRFLOW_URL": self.airflow.url,
            "WINDSOCK_TEMPLATES": str(self.home / "templates"),
            **self.mail.monitor_env(),
        }
        return {**kept, **moved}

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def rename_files(self) -> None:
        rules = self.home / RULES_FILE
        rules.write_text(rename(rules.read_text(), renames("rules file"), "(?=:)"))
        for template in (self.home / "templates").iterdir():
            template.write_text(rename_in_template(template.read_text()))

    def windsock(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, arguments, env={**self.environment(), **environment})
        return done.exit_code, done.output

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the database holds, by its tables."""
        engine = create_engine(self.url)
        found = MetaData()
        found.reflect(engine)
        with engine.connect() as connection:
            rows = {
                name: [dict(row) for row in connection.execute(_in_order(table)).mappings()]
                for name, table in found.tables.items()
            }
        engine.dispose()
        return rows

    def served(self, **more: str) -> Any:
        """Return the new monitor on this installation, to be entered."""
        names = {name.removeprefix("WINDSOCK_").lower(): value for name, value in self.environment().items()}
        settings = load_settings(env_file=self.home / "shown.env", **{**_own(names), **more})
        return serving(settings, self.clock)


def _in_order(table: Table) -> Select[Any]:
    return table.select().order_by(*table.primary_key.columns)


def _own(names: Mapping[str, str]) -> dict[str, str]:
    own = ("home", "port", "database_url", "airflow_url", "templates")
    return {name: value for name, value in names.items() if name in own or name.startswith("smtp_")}


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    home = tmp_path / "home"
    shutil.copytree(CHECKOUT, home)
    home.chmod(0o700)
    if request.param == "sqlite":
        url = f"sqlite:///{home / 'windsock.db'}"
        with closing(sqlite3.connect(home / "windsock.db")) as database:
            database.executescript((CHECKOUT / "sqlite.sql").read_text())
    else:
        url = request.getfixturevalue("postgres_url")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.connection.cursor().execute((CHECKOUT / "postgresql.sql").read_text())
        engine.dispose()
    airflow = SignInAirflow()
    for user, dags in USERS.items():
        airflow.add(user, f"{user}'s", dags)
    airflow.dags["monitor"] = USERS["root"]
    mail = SmtpServer(tmp_path).start()
    clock = FakeClock(datetime.fromisoformat(HANDED_OUT["stopped"]))
    with airflow.serving():
        yield Installation(home, url, airflow, mail, clock)
    mail.stop()


ON_SQLITE = pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
"""For what is refused before a database is opened."""


@ON_SQLITE
@pytest.mark.parametrize("command", ["check", "serve", "migrate"])
def test_each_old_setting_is_refused_with_its_new_name(installation: Installation, command: str) -> None:
    done = CliRunner().invoke(cli, [command], env=installation.environment(is_renamed=False))
    assert done.exit_code == 2
    old = [name for name in SETTINGS if name in (CHECKOUT / SETTINGS_FILE).read_text()]
    assert old
    for name in old:
        assert f"{name}: is now called {SETTINGS[name]}" in done.output


@ON_SQLITE
def test_each_old_field_and_template_is_named_with_its_new_one(installation: Installation) -> None:
    _, said = installation.windsock("check")
    rules = (CHECKOUT / RULES_FILE).read_text().splitlines()
    old = [
        (number, name) for name in RULE_FIELDS for number, line in enumerate(rules, 1) if f" {name}:" in line
    ]
    assert old
    for number, name in old:
        assert f"{RULES_FILE}:{number}: " in said
        assert said.count(f"{name}: is now called {RULE_FIELDS[name]}") == len(old)
    assert "it is now called" in said  # of the template


def test_check_finds_nothing_once_the_page_is_followed(installation: Installation) -> None:
    installation.rename_files()
    _, said = installation.windsock("check")
    broken = [line for line in said.splitlines() if line.startswith("broken")]
    assert [line.split()[1] for line in broken] == ["database:"]  # its schema is the old one
    assert installation.windsock("migrate")[0] == 0
    status, said = installation.windsock("check")
    assert status == 0, said


def test_nothing_is_lost_in_the_database(installation: Installation) -> None:
    before = installation.rows()
    database = Database(installation.url)
    migrate(database)
    database.close()
    after = installation.rows()
    left_out = {"alembic_version", "sessions"}  # everybody signs in anew
    for name in before.keys() - left_out:
        expected = [_expected(name, row) for row in before[name]]
        assert [{column: row[column] for column in before[name][0]} for row in after[name]] == expected
    assert after["sessions"] == []


def _expected(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return an old row with what the migrations say anew."""
    changes: dict[str, Any] = {}
    if table == "decisions" and row["outcome"] == "told":
        changes = {"outcome": "notified"}
    if table == "incidents" and row["key"] == "windsock.run.stuck:nightly":
        changes = {"key": "windsock.run.stuck:nightly/scheduled__1"}  # each stuck run is one
    return {**row, **changes}


def test_tokens_links_cursors_and_pages_go_on(installation: Installation) -> None:
    installation.rename_files()
    before = installation.rows()
    with installation.served() as monitor:
        assert _statuses(monitor) == {
            "alice reads": 200,
            "alice reads etl": 200,
            "root may everything": 200,
            "revoked": 401,
            "the machine reads": 200,
            "the machine reports": 403,
        }
        assert {run["dag_id"] for run in _runs(monitor, "alice reads etl")} == {"etl"}
        with FeedReader(
            monitor.url, f"/events?after={HANDED_OUT['cursor']}", _bearer("the machine reads")
        ) as reader:
            ids = [one["id"] for one in reader.wait_for(len(HANDED_OUT["after_cursor"]))]
            assert ids[: len(HANDED_OUT["after_cursor"])] == HANDED_OUT["after_cursor"]
            assert "reset" not in [message.event for message in reader.messages]
        for link in HANDED_OUT["links"].values():
            assert monitor.client.get(link).status_code == 200, link
        one_click = {"List-Unsubscribe": "One-Click"}  # RFC 8058
        assert monitor.client.post(HANDED_OUT["links"]["unsubscribe"], data=one_click).is_success
        with httpx.Client(base_url=monitor.url, timeout=10, cookies=HANDED_OUT["cookies"]) as old:
            assert old.get("/api/v1/runs").status_code == 401  # everybody signs in anew
        with httpx.Client(base_url=monitor.url, timeout=10) as browser:
            assert try_to_sign_in(browser, "root", "root's").status_code == 303
            _look_at_every_page(browser, before)
    assert [row["rule"] for row in installation.rows()["unsubscribed"]] == ["production"]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {HANDED_OUT['tokens'][token]}"}


def _statuses(monitor: Served) -> dict[str, int]:
    return {
        name: monitor.client.get("/api/v1/runs", headers=_bearer(name)).status_code
        for name in HANDED_OUT["tokens"]
    }


def _runs(monitor: Served, token: str) -> list[dict[str, Any]]:
    answer = monitor.client.get("/api/v1/runs", headers=_bearer(token)).raise_for_status().json()
    return list(answer["runs"])


def _look_at_every_page(browser: httpx.Client, before: Mapping[str, list[dict[str, Any]]]) -> None:
    lists = ("", "runs", "assets", "events/list", "incidents", "mail", "silences", "tokens", "templates")
    pages = [f"/{name}" for name in (*lists, "settings")]
    pages += [f"/{table}/{row['id']}" for table in ("incidents", "deliveries") for row in before[table]]
    assert {page: browser.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
    for table in ("events", "incidents", "deliveries", "silences"):
        rows = browser.get(f"/api/v1/{table}", params={"limit": 200}).raise_for_status().json()[table]
        held = {str(row["seq" if table == "events" else "id"]) for row in before[table]}
        assert held <= {str(row.get("seq") or row["id"]) for row in rows}, table
    for row in before["incidents"]:
        incident = browser.get(f"/api/v1/incidents/{row['id']}").json()
        assert (incident["state"], incident["acknowledged_by"]) == (row["state"], row["acked_by"])


def test_what_waits_goes_out_once_and_the_old_spool_is_sent(installation: Installation) -> None:
    installation.rename_files()
    installation.clock.now += timedelta(minutes=10)
    before = installation.rows()
    due = [row for row in before["deliveries"] if row["state"] == "pending" and _is_due(row, installation)]
    assert len(due) > 1
    with installation.served() as monitor:
        _send_spool(installation.home / "spool", monitor)
        wait.until(lambda: not _waiting(installation, due), "what is due to be sent")
    mails = Counter(str(mail.message["message-id"]) for mail in installation.mail.mails)
    assert set(mails.values()) == {1}
    assert not set(mails) & {mail["id"] for mail in HANDED_OUT["mailed"]}
    assert {row["message_id"] for row in due} <= set(mails)
    runs = {row["run_id"] for row in installation.rows()["events"] if row["dag_id"] == "etl"}
    assert {"spooled__0", "spooled__1", "spooled__2"} <= runs


@ON_SQLITE
def test_a_watch_ends_what_the_old_one_found(installation: Installation) -> None:
    """The stuck run is over, in Airflow; each look and each comparison is soon."""
    installation.rename_files()
    with installation.served(reconcile_interval="0.2"):
        wait.until(lambda: "open" not in _states_of_stuck_runs(installation), "the incident's end")
    [finding] = installation.rows()["watch_findings"]
    assert finding["ended_at"] is not None


def _states_of_stuck_runs(installation: Installation) -> list[str]:
    rows = installation.rows()["incidents"]
    return [row["state"] for row in rows if row["key"].startswith("windsock.run.stuck:nightly")]


def _is_due(row: dict[str, Any], installation: Installation) -> bool:
    due: datetime = row["next_attempt_at"]
    return due.replace(tzinfo=None) <= installation.clock.now.replace(tzinfo=None)


def _waiting(installation: Installation, due: list[dict[str, Any]]) -> list[str]:
    ids = {row["id"] for row in due}
    rows = installation.rows()["deliveries"]
    return [row["reason"] for row in rows if row["id"] in ids and row["state"] in ("pending", "sending")]


def _send_spool(spool: Path, monitor: Served) -> None:
    """Send what the old plugin has kept, its dead process's journal too, by the plugin of today."""
    for folder in (spool, *(path for path in spool.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
    own = {
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "AIRFLOW__WINDSOCK__MONITOR_URL": monitor.url,
        "AIRFLOW__WINDSOCK__INGEST_SECRET": monitor.settings.ingest_secret[0].get_secret_value(),
        "AIRFLOW__WINDSOCK__SPOOL_DIR": str(spool),
    }
    command = [sys.executable, "-m", "airflow_windsock.forwarder", "--once"]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((spool / "new").iterdir()) == []


def test_a_backup_of_the_old_monitor_is_restored(installation: Installation, tmp_path: Path) -> None:
    """It was taken before the last mail, which the journal alone knows."""
    installation.rename_files()
    engine = create_engine(installation.url)
    with engine.begin() as connection:
        connection.execute(text(BEFORE_THE_LAST_MAIL))
    engine.dispose()
    file = tmp_path / "backup"
    status, said = installation.windsock("backup", str(file))  # the file that the old command writes, too
    assert status == 0, said
    status, said = installation.windsock("restore", str(file))
    assert status == 0, said
    assert "1 deliveries that waited in the backup were among them" in said
    [last] = [row for row in installation.rows()["deliveries"] if row["template"] == "own"]
    assert last["state"] == "sent"
    assert "before the database was restored" in last["reason"]


BEFORE_THE_LAST_MAIL = """
UPDATE deliveries SET state = 'pending', reason = '', attempts = 0, handed_at = NULL, settled_at = NULL,
subject = NULL WHERE template = 'own'
"""


def test_the_page_names_each_name_that_is_refused() -> None:
    assert renames("settings").items() >= SETTINGS.items()
    assert renames("rules file").items() >= RULE_FIELDS.items()
