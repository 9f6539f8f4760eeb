"""The wiring: the death of a background task is told; the schema is brought up to date, never back."""

import asyncio
import json
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from monitor.app import Work, start_background
from monitor.clock import utc_now
from monitor.concurrency import end
from monitor.database.engine import Database
from monitor.database.migrate import migrate, versions
from monitor.database.schema import metadata
from monitor.errors import SettingsError
from monitor.settings import Settings
from tests import wait
from tests.monitor_process import MonitorProcess
from tests.sample import START, run_event
from tests.unit.conftest import Live, sign


async def dies() -> None:
    raise RuntimeError("no more")


async def ends() -> None:
    return


@pytest.mark.parametrize(("work", "words"), [(dies, "mailer died: RuntimeError"), (ends, "ended by itself")])
def test_the_end_of_a_background_task_is_fatal(work: Work, words: str) -> None:
    async def story() -> list[str]:
        told: list[str] = []
        await start_background("mailer", work, told.append)
        return told

    (message,) = asyncio.run(story())
    assert words in message


def test_a_cancelled_background_task_is_not() -> None:
    async def story() -> list[str]:
        told: list[str] = []
        task = start_background("mailer", asyncio.Event().wait, told.append)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await end([task])
        return told

    assert asyncio.run(story()) == []


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_links_name_the_port_that_it_got(tmp_path: Path, host: str, shown: str) -> None:
    env = {"WINDSOCK_HOST": host, "WINDSOCK_PORT": "0", "NOTIFICATION_EMAIL_TO": "ops@example.com"}
    monitor = MonitorProcess(tmp_path, env)
    monitor.launch()
    try:
        listens = re.compile(rf"listens at (http://{re.escape(shown)}:[1-9]\d*)")
        wait.until(lambda: listens.search(monitor.log.read_text()), "the monitor to listen")
        url = listens.findall(monitor.log.read_text())[0]
        wait.until(lambda: "startup complete" in monitor.log.read_text(), "the monitor to be ready")
        body = json.dumps([run_event("failed", start=(utc_now() - START).total_seconds() - 10)])
        sent = httpx.post(f"{url}/api/v1/events", content=body, headers=sign(monitor.secret, body))
        assert sent.json()["accepted"] == 1
        mails = monitor.home / "windsock" / "mailbox"
        wait.until(lambda: [*mails.rglob("*.eml")], "the mail")
        (mail,) = mails.rglob("*.eml")
        told = message_from_bytes(mail.read_bytes(), policy=default)
        assert str(told["List-Unsubscribe"]).startswith(f"<{url}/links/unsubscribe/")
    finally:
        monitor.stop()


def test_events_outlive_a_restart(settings: Settings) -> None:
    first = Live(settings).start()
    first.post([run_event()])
    first.stop()
    second = Live(settings).start()
    assert second.post([run_event()]).json()["duplicate"] == 1
    second.stop()
    assert first.fatal == second.fatal == []


def test_the_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    def differences(connection: object) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})  # type: ignore[arg-type]
        return list(compare_metadata(context, metadata))

    assert database.read_now(differences) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = database.read_now(lambda c: c.execute(text("SELECT epoch FROM log_state")).scalar())
    migrate(database)
    assert database.read_now(lambda c: c.execute(text("SELECT epoch FROM log_state")).scalar()) == before
    assert versions(database)[0] == versions(database)[1]


def test_a_newer_schema_is_refused(database: Database) -> None:
    database.write_now(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(SettingsError, match="newer Windsock"):
        migrate(database)


def test_a_second_monitor_on_the_same_file_shares_it(settings: Settings) -> None:
    one = Live(settings).start()
    two = Live(settings).start()
    try:
        assert one.post([run_event()]).json()["accepted"] == 1
        assert two.post([run_event()]).json()["duplicate"] == 1
    finally:
        one.stop()
        two.stop()
