"""The command `windsock check`, which proves each connection and reads the rules.

`check` names the remedy of each mistake, and neither sends nor changes anything. All mistakes are found in
one round: a wrong setting hides no mistake of the rules, and a wrong rule hides no other rule. Rules without
a recipient are warnings, because they can be used.

Modules that take long to import are imported by the probe that needs them, so the command starts at once."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import closing
from datetime import timedelta
from http.client import OK, HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from monitor.cli.check_files import CheckResult, check_rules, check_templates, check_variables
from monitor.cli.typer_app import EXIT_FAILED, EXIT_SETTINGS, announce, cli, format_time, listen, refuse, say
from monitor.clock import utc_now
from monitor.errors import AirflowError, AirflowRefused, SettingsError
from monitor.plain_text import sanitize_for_terminal
from monitor.rules.validation import CheckUrl
from monitor.settings import SESSION_WARNING, Settings
from monitor.settings_loading import find_mistakes, load_environment
from monitor.settings_values import AirflowSettings

if TYPE_CHECKING:
    import httpx

    from monitor.delivery.channels.smtp import SmtpMailer

REQUEST_SECONDS = (
    5.0  # a monitor on its own machine answers in milliseconds, and behind a proxy in a second or two
)
MAX_ANSWER = 1_000  # bytes. The monitor's own answer has 16
BATCH = "application/cloudevents-batch+json"

logger = logging.getLogger(__name__)


async def check(
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    check_url: CheckUrl | None = None,
    mistakes: list[str] | None = None,
) -> list[CheckResult]:
    """Try every connection, side by side, and read the rules file. `environment` and `check_url`: as
    load_config has them. `mistakes`: of the settings."""
    return [result async for result in results(settings, environment or {}, check_url, mistakes or [])]


async def results(
    settings: Settings, environment: Mapping[str, str], check_url: CheckUrl | None, mistakes: list[str]
) -> AsyncIterator[CheckResult]:
    """Yield each result in its place as soon as it is known, so that the first ones are read meanwhile."""
    files: tuple[Awaitable[list[CheckResult]], ...] = (
        asyncio.to_thread(check_variables, settings, environment, mistakes),
        asyncio.to_thread(check_rules, settings, environment, check_url),
        asyncio.to_thread(check_templates, settings),
    )
    running = [asyncio.ensure_future(_run_probe(probe)) for probe in (*_probes(settings, mistakes), *files)]
    for task in running:
        for result in await task:
            yield result


def _probes(settings: Settings, mistakes: list[str]) -> list[Awaitable[list[CheckResult]]]:
    """Return the probes of connections.
    With wrong settings there are none, because they would ask the wrong place."""
    if mistakes:
        return []
    is_running = asyncio.ensure_future(_is_running(settings))
    probes = (
        *(_database(settings, is_running), *_airflows(settings), _mail(settings)),
        *(_port(settings, is_running), _ingest(settings, is_running)),
        *(_sessions(settings), _tokens(settings)),
    )
    return [_listed(probe) for probe in probes]


async def _listed(probe: Awaitable[CheckResult]) -> list[CheckResult]:
    return [await probe]


async def _run_probe(probe: Awaitable[list[CheckResult]]) -> list[CheckResult]:
    """Run a probe. An error that the probe did not foresee is a finding too, and hides no other finding."""
    try:
        return await probe
    except Exception as error:
        logger.debug("a probe failed", exc_info=error)
        text = f"could not be looked at: {type(error).__name__}: {error}"
        remedy = "Report this as a defect, with the settings but their secrets."
        return [CheckResult("check", False, text, remedy)]


async def _database(settings: Settings, is_running: Awaitable[bool]) -> CheckResult:
    if not _has_file(settings):
        return CheckResult("database", True, f"{settings.database} is made at the first start")
    return await asyncio.to_thread(_look_at_database, settings, await is_running)


def _has_file(settings: Settings) -> bool:
    """Return True unless it is a SQLite database that no monitor has made: to look at it would make it."""
    scheme, _, path = settings.database.partition(":///")
    return not scheme.startswith("sqlite") or Path(path).exists()


def _look_at_database(settings: Settings, is_running: bool) -> CheckResult:
    from sqlalchemy.exc import SQLAlchemyError

    from monitor.database.engine import Database
    from monitor.database.migrate import versions
    from monitor.database.write_check import WRITE_SECONDS, last_written

    written_within = timedelta(seconds=3 * WRITE_SECONDS)  # two may be missed while a machine is busy
    database = Database(settings.database)
    url = database.url.render_as_string(hide_password=True)
    try:
        found, newest = versions(database)
        written_at = database.read_now(last_written) if found == newest else None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return CheckResult(
            "database", False, f"{url}: {reason}", "Check WINDSOCK_DATABASE_URL and WINDSOCK_HOME."
        )
    finally:
        database.close()
    if found != newest:
        detail = f"{url} has schema {found or 'none'}; this release has {newest}"
        return CheckResult("database", False, detail, "Run `windsock migrate`, or start the monitor.")
    wrote = f"last wrote to it at {format_time(written_at)}" if written_at else "has not written to it yet"
    if is_running and (written_at is None or utc_now() - written_at > written_within):
        remedy = (
            "Is the disk full, or the server read-only? Is it the database of the monitor that runs? Look at "
            "the monitor's log and its /health."
        )
        return CheckResult("database", False, f"{url}: a monitor runs, and {wrote}", remedy)
    return CheckResult(
        "database", True, f"{url}, schema {found}" + (f"; a monitor {wrote}" if written_at else "")
    )


async def _sessions(settings: Settings) -> CheckResult:
    if settings.auth == "none":
        return CheckResult("sessions", True, "nobody signs in")
    if settings.session_secret:
        return CheckResult(
            "sessions", True, f"{len(settings.session_secret)} secrets are set; the first one signs"
        )
    if settings.shares_database:
        return CheckResult(
            "sessions", False, SESSION_WARNING, "Set WINDSOCK_SESSION_SECRET to the same in each."
        )
    return CheckResult("sessions", True, "no WINDSOCK_SESSION_SECRET is set: a restart signs everybody out")


async def _tokens(settings: Settings) -> CheckResult:
    if not _has_file(settings):
        return CheckResult("tokens", True, "none is of an unknown Airflow's user")
    return await asyncio.to_thread(_look_at_tokens, settings)


def _look_at_tokens(settings: Settings) -> CheckResult:
    """Check that no token is of an unknown Airflow's user. With one Airflow, the next start settles that."""
    from sqlalchemy.exc import SQLAlchemyError

    from monitor.database.engine import Database
    from monitor.database.migrate import versions
    from monitor.web.auth import tokens

    database = Database(settings.database)
    try:
        found, newest = versions(database)
        left = database.read_now(tokens.unattributed) if found and found == newest else 0
    except SQLAlchemyError:
        return CheckResult("tokens", True, "not looked at: the database says more")
    finally:
        database.close()
    if left and len(settings.every_airflow) != 1:
        remedy = "Make them anew, and revoke these: `windsock token list`."
        return CheckResult("tokens", False, tokens.unattributed_words(left), remedy)
    return CheckResult("tokens", True, "none is of an unknown Airflow's user")


def _airflows(settings: Settings) -> list[Awaitable[CheckResult]]:
    airflows = settings.every_airflow.items()
    return [_airflow(name, airflow, settings.airflow_timeout) for name, airflow in airflows] or [
        _no_airflow()
    ]


async def _no_airflow() -> CheckResult:
    return CheckResult("airflow", True, "not set: nothing is confirmed, enriched or filled in from Airflow")


async def _airflow(deployment: str, airflow_settings: AirflowSettings, timeout: float) -> CheckResult:
    from monitor.airflow.client import AirflowApi

    name = f"airflow {deployment}"
    api = AirflowApi.from_settings(deployment, airflow_settings, timeout, utc_now)
    try:
        version = await api.version()
        dags = await api.may_read()
    except AirflowRefused as error:
        return CheckResult(name, False, str(error), "Give a user that may read DAGs, such as a Viewer.")
    except AirflowError as error:
        return CheckResult(
            name, False, str(error), "Start Airflow's api-server, or set WINDSOCK_AIRFLOW_URL."
        )
    finally:
        await api.close()
    where = f"Airflow {version} at {airflow_settings.url}"
    if dags == 0:
        remedy = f"Let {airflow_settings.username!r} read DAGs; or Airflow has parsed none yet."
        return CheckResult(name, False, f"{where}: signed in, and no DAG is to be seen", remedy)
    return CheckResult(
        name, True, f"{where}: signed in as {airflow_settings.username!r}, {dags} DAGs to read"
    )


async def _mail(settings: Settings) -> CheckResult:
    if not settings.smtp_host:
        return CheckResult("mail", True, "no SMTP server is set: mail goes to the embedded mailbox")
    from monitor.delivery.channels.errors import Misconfigured, SendError, SendRefused
    from monitor.delivery.channels.smtp import SmtpMailer
    from monitor.delivery.channels.smtp_connection import SmtpServer

    where = f"{settings.smtp_host}:{settings.smtp_port} ({settings.smtp_security})"
    try:
        mailer = SmtpMailer(SmtpServer.from_settings(settings))
    except SettingsError as error:
        return CheckResult(
            "mail", False, str(error), "Set WINDSOCK_SMTP_CA_FILE to a readable PEM file, or unset it."
        )
    try:
        await mailer.open()
        later = await _later(mailer, settings)
    except Misconfigured as error:
        return CheckResult("mail", False, str(error), "Mend what stands in brackets; until then mails wait.")
    except SendRefused as error:
        return CheckResult("mail", False, str(error), "Check NOTIFICATION_EMAIL_TO: its mails would be dead.")
    except SendError as error:
        return CheckResult("mail", False, str(error), _mail_remedy(settings))
    finally:
        await mailer.close()
    login = f"signed in as {settings.smtp_username!r}" if settings.smtp_username else "without a login"
    return CheckResult("mail", True, f"{where}: {login}{later}")


async def _later(mailer: SmtpMailer, settings: Settings) -> str:
    """Name the sender and the first recipient to the server, without a mail.

    Many servers refuse a host or a login only at that point. Return the server's words if it asks to come
    back, as greylisting does. Raises SendError."""
    from monitor.delivery.channels.errors import Misconfigured, TryLater, Unavailable

    recipient = next(iter(settings.notification_email_to), settings.sender_address)
    try:
        await mailer.try_envelope(recipient)
    except (Unavailable, Misconfigured):
        raise
    except TryLater as error:
        return f"; to {recipient} only later: {error}"
    return ""


def _mail_remedy(settings: Settings) -> str:
    if (settings.smtp_host or "").endswith((".gmail.com", ".googlemail.com")):
        return (
            "Gmail takes an app password (16 letters, https://myaccount.google.com/apppasswords), "
            "never the account's own: set WINDSOCK_SMTP_PASSWORD to one."
        )
    return (
        "Check WINDSOCK_SMTP_HOST, WINDSOCK_SMTP_PORT, WINDSOCK_SMTP_SECURITY (587 is starttls, 465 tls), "
        "and the user's name and password."
    )


async def _port(settings: Settings, is_running: Awaitable[bool]) -> CheckResult:
    where = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return CheckResult(
            "port", True, f"any free one of {settings.host}: a monitor that runs is not looked for"
        )
    if await is_running:
        return CheckResult("port", True, f"the monitor answers at {settings.url}")
    try:
        await asyncio.to_thread(_try_port, settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        remedy = "End what listens there, or set WINDSOCK_PORT and WINDSOCK_HOST to others."
        return CheckResult(
            "port", False, f"{where} cannot be listened on, and no monitor is there: {error}", remedy
        )
    return CheckResult("port", True, f"{where} is free; no monitor runs")


async def _ingest(settings: Settings, is_running: Awaitable[bool]) -> CheckResult:
    """Send a signed batch of no events to the monitor itself, with the first secret, as a plugin signs."""
    if not settings.ingest_secret:
        return CheckResult(
            "ingest",
            False,
            "no secret is set: no event is taken in",
            "Run `windsock secret`; set WINDSOCK_INGEST_SECRET and AIRFLOW__WINDSOCK__INGEST_SECRET to it.",
        )
    if not await is_running:
        return CheckResult("ingest", True, "not tried: no monitor runs; the secret is well-formed")
    import httpx

    try:
        status, text = await _post_nothing(settings)
    except httpx.HTTPError as error:
        return CheckResult("ingest", False, f"{settings.url}: {error!r}", "Check WINDSOCK_PUBLIC_URL.")
    if status != httpx.codes.ACCEPTED:
        remedy = (
            "The monitor runs with another WINDSOCK_INGEST_SECRET: restart it, and give the plugin the same."
        )
        return CheckResult("ingest", False, f"{settings.url} answered {status}: {text}", remedy)
    return CheckResult("ingest", True, f"{settings.url} takes what is signed with this secret")


async def _post_nothing(settings: Settings) -> tuple[int, str]:
    import uuid

    from standardwebhooks import Webhook

    body, message, now = "[]", f"msg_{uuid.uuid4().hex}", utc_now()
    signature = Webhook(settings.ingest_secret[0].get_secret_value()).sign(message, now, body)
    headers = {
        "Content-Type": BATCH,
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    async with _client() as client:
        answer = await client.post(f"{settings.url}/api/v1/events", content=body, headers=headers)
    return answer.status_code, answer.text[:200]


async def _is_running(settings: Settings) -> bool:
    """Return True if a monitor answers at the address that people use."""
    return await asyncio.to_thread(_is_alive, settings.url)


def _is_alive(url: str) -> bool:
    """Return True if a monitor answers at this URL.

    The standard library's client asks, because the import of httpx takes as long as all the rest of `check`.
    """
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=REQUEST_SECONDS)) as connection:
            connection.request("GET", f"{parts.path}/livez")
            answer = connection.getresponse()
            return answer.status == OK and json.loads(answer.read(MAX_ANSWER)) == {"status": "ok"}
    except (OSError, HTTPException, ValueError):
        return False


def _client() -> httpx.AsyncClient:
    from monitor.bounded_http import BoundedClient

    return BoundedClient(timeout=REQUEST_SECONDS, trust_env=False)


def _try_port(host: str, port: int) -> None:
    listen(host, port).close()


def _apprise_mistake(url: str) -> str | None:
    from monitor.delivery.channels.apprise import check_apprise_url

    return check_apprise_url(url)


@cli.command("check")
def check_command() -> None:
    """Check the settings, each connection, the rules and the templates.
    Name every mistake and its remedy at once.

    Exit status: 0 if nothing is broken, even if there are warnings (a rule without a recipient). 1 if a
    connection, the rules or a template is broken. 2 if a setting cannot be used."""
    logging.getLogger("monitor").addHandler(logging.NullHandler())  # the results say it all
    try:
        settings, file, mistakes = find_mistakes()
        environment = load_environment(os.environ)
    except SettingsError as error:
        refuse(str(error))
    announce(file)
    is_ok = asyncio.run(_print_results(settings, environment, mistakes))
    if mistakes:
        raise typer.Exit(EXIT_SETTINGS)
    if not is_ok:
        raise typer.Exit(EXIT_FAILED)


async def _print_results(settings: Settings, environment: Mapping[str, str], mistakes: list[str]) -> bool:
    """Print the results as they come, then their sum. Return True if nothing is broken."""
    broken = warnings = 0
    async for result in results(settings, environment, _apprise_mistake, mistakes):
        sign, color = result.sign
        detail = sanitize_for_terminal(f"{result.name}: {result.detail}").replace("\n", "\n         ")
        typer.echo(f"{typer.style(sign, fg=color)}  {detail}")
        if result.remedy:
            say(f"         {result.remedy}")
        broken += not result.ok
        warnings += result.is_warning
    if broken or warnings:
        typer.echo(f"{broken} broken, {warnings} warnings")
    return not broken
