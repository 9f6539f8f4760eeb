"""The command `windsock check`, which proves each connection and reads the rules.

`check` says what to mend, and neither sends nor changes anything.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError
from standardwebhooks import Webhook

from monitor.airflow.client import AirflowApi
from monitor.bounded_http import BoundedClient
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import versions
from monitor.database.write_check import WRITE_SECONDS, last_written
from monitor.delivery.channels.errors import Misconfigured, SendError, SendRefused, TryLater, Unavailable
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.delivery.messages.renderer import Renderer
from monitor.errors import AirflowError, AirflowRefused, SettingsError
from monitor.rules.loader import default_config, load_config, variables_asked_for
from monitor.rules.validation import CheckUrl
from monitor.rules.yaml_source import RulesError
from monitor.settings import SESSION_WARNING, Settings
from monitor.settings_loading import unknown_variables
from monitor.settings_values import AirflowSettings
from monitor.web.auth import tokens
from monitor.web.server import listen

REQUEST_SECONDS = (
    5.0  # a monitor on its own machine answers in milliseconds; behind a proxy in a second or two
)
WRITTEN_WITHIN = timedelta(seconds=3 * WRITE_SECONDS)  # two writes may be missed while a machine is busy
BATCH = "application/cloudevents-batch+json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckResult:
    """What was proved, or why not. `remedy` is empty where all is well."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


async def check(
    settings: Settings, environment: Mapping[str, str] | None = None, check_url: CheckUrl | None = None
) -> list[CheckResult]:
    """Try every connection, side by side, and read the rules file. `environment` and `check_url`: as
    load_config has them."""
    probes = (
        *(_database(settings), *_airflows(settings), _mail(settings), _port(settings), _ingest(settings)),
        *(_sessions(settings), _tokens(settings)),
        asyncio.to_thread(_variables, settings, environment or {}),
        asyncio.to_thread(_rules, settings, environment or {}, check_url),
        asyncio.to_thread(_templates, settings),
    )
    return list(await asyncio.gather(*map(_run_probe, probes)))


def _variables(settings: Settings, environment: Mapping[str, str]) -> CheckResult:
    unknown = list(unknown_variables(environment, variables_asked_for(settings.rules_file)))
    if unknown:
        remedy = "Correct each name, or take the variable away (docs/settings.md has every name)."
        return CheckResult("settings", False, "; ".join(unknown), remedy)
    return CheckResult("settings", True, "every WINDSOCK_… variable is one that is read")


async def _run_probe(probe: Awaitable[CheckResult]) -> CheckResult:
    """A setting that no probe foresaw is a finding too, and takes away none of the others."""
    try:
        return await probe
    except Exception as error:
        logger.debug("a probe failed", exc_info=error)
        said = f"could not be looked at: {type(error).__name__}: {error}"
        return CheckResult(
            "check", False, said, "Report this as a defect, with the settings but their secrets."
        )


async def _database(settings: Settings) -> CheckResult:
    return await asyncio.to_thread(_look_at_database, settings, await _is_running(settings))


def _look_at_database(settings: Settings, is_running: bool) -> CheckResult:
    database = Database(settings.database)
    shown = database.url.render_as_string(hide_password=True)
    try:
        if not _exists(database):
            return CheckResult("database", True, f"{shown} is made at the first start")
        found, wanted = versions(database)
        written = database.read_now(last_written) if found == wanted else None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return CheckResult(
            "database", False, f"{shown}: {reason}", "Check WINDSOCK_DATABASE_URL and WINDSOCK_HOME."
        )
    finally:
        database.close()
    if found != wanted:
        detail = f"{shown} has schema {found or 'none'}; this release has {wanted}"
        return CheckResult("database", False, detail, "Run `windsock migrate`, or start the monitor.")
    told = f"last wrote to it at {written:%Y-%m-%d %H:%M:%S} UTC" if written else "has not written to it yet"
    if is_running and (written is None or utc_now() - written > WRITTEN_WITHIN):
        remedy = (
            "Is the disk full, or the server read-only? Is it the database of the monitor that runs? Look at "
            "the monitor's log and its /health."
        )
        return CheckResult("database", False, f"{shown}: a monitor runs, and {told}", remedy)
    return CheckResult(
        "database", True, f"{shown}, schema {found}" + (f"; a monitor {told}" if written else "")
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
    return await asyncio.to_thread(_look_at_tokens, settings)


def _look_at_tokens(settings: Settings) -> CheckResult:
    """With one Airflow, the next start says of each token that it is that one's user's."""
    database = Database(settings.database)
    try:
        found, wanted = versions(database) if _exists(database) else ("", "")
        left = database.read_now(tokens.unattributed) if found and found == wanted else 0
    except SQLAlchemyError:
        return CheckResult("tokens", True, "not looked at: the database says more")
    finally:
        database.close()
    if left and len(settings.every_airflow) != 1:
        remedy = "Make them anew, and revoke these: `windsock token list`."
        return CheckResult("tokens", False, tokens.unattributed_words(left), remedy)
    return CheckResult("tokens", True, "none is of an unknown Airflow's user")


def _exists(database: Database) -> bool:
    """To look at a database does not make it."""
    file = database.url.database if database.url.get_backend_name() == "sqlite" else None
    return not file or Path(file).exists()


def _airflows(settings: Settings) -> list[Awaitable[CheckResult]]:
    known = settings.every_airflow.items()
    return [_airflow(name, each, settings.airflow_timeout) for name, each in known] or [_no_airflow()]


async def _no_airflow() -> CheckResult:
    return CheckResult("airflow", True, "not set: nothing is confirmed, enriched or filled in from Airflow")


async def _airflow(deployment: str, known: AirflowSettings, timeout: float) -> CheckResult:
    name = f"airflow {deployment}"
    api = AirflowApi.from_settings(deployment, known, timeout, utc_now)
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
    where = f"Airflow {version} at {known.url}"
    if dags == 0:
        remedy = f"Let {known.username!r} read DAGs; or Airflow has parsed none yet."
        return CheckResult(name, False, f"{where}: signed in, and no DAG is to be seen", remedy)
    return CheckResult(name, True, f"{where}: signed in as {known.username!r}, {dags} DAGs to read")


async def _mail(settings: Settings) -> CheckResult:
    if not settings.smtp_host:
        return CheckResult("mail", True, "no SMTP server is set: mail goes to the embedded mailbox")
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
    """Name the sender and the first recipient to the server, without a mail: many servers refuse a host or a
    login only then. Return what it said if it asks to come back, as greylisting does. Raises SendError."""
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


def _rules(settings: Settings, environment: Mapping[str, str], check_url: CheckUrl | None) -> CheckResult:
    file = settings.rules_file
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    if settings.config is None and not file.exists():
        return CheckResult("rules", True, f"no file at {file}: the {len(defaults.rules)} default rules hold")
    try:
        config = load_config(file, environment, defaults, check_url)
    except RulesError as error:
        remedy = "Mend each line (docs/rules.md). A monitor that runs keeps to the last good file until then."
        return CheckResult("rules", False, f"{file} cannot be used:\n{error}", remedy)
    counts = {"rules": config.rules, "receivers": config.receivers, "watches": config.watches}
    return CheckResult(
        "rules", True, f"{file}: " + ", ".join(f"{name} {len(of)}" for name, of in counts.items())
    )


def _templates(settings: Settings) -> CheckResult:
    """Every template that the user's folder has a say in, with made-up data."""
    if settings.templates is None:
        return CheckResult("templates", True, "no WINDSOCK_TEMPLATES is set: the built-in ones are used")
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, utc_now, overrides=settings.templates
    )
    found = renderer.templates()
    if problems := [one.problem for one in found if one.problem]:
        remedy = "Mend it: `windsock preview` shows it. Until then notifications use the built-in template."
        return CheckResult("templates", False, f"{settings.templates}: {'; '.join(problems)}", remedy)
    own = sum(one.overridden for one in found)
    return CheckResult("templates", True, f"{settings.templates}: {own} of your own can be used")


async def _port(settings: Settings) -> CheckResult:
    where = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return CheckResult(
            "port", True, f"any free one of {settings.host}: a monitor that runs is not looked for"
        )
    if await _is_running(settings):
        return CheckResult("port", True, f"the monitor answers at {settings.url}")
    try:
        await asyncio.to_thread(_try_port, settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        remedy = "End what listens there, or set WINDSOCK_PORT and WINDSOCK_HOST to others."
        return CheckResult(
            "port", False, f"{where} cannot be listened on, and no monitor is there: {error}", remedy
        )
    return CheckResult("port", True, f"{where} is free; no monitor runs")


async def _ingest(settings: Settings) -> CheckResult:
    """A signed batch of no events to the monitor itself, with the first secret, as a plugin signs."""
    if not settings.ingest_secret:
        return CheckResult(
            "ingest",
            False,
            "no secret is set: no event is taken in",
            "Run `windsock secret`; set WINDSOCK_INGEST_SECRET and AIRFLOW__WINDSOCK__INGEST_SECRET to it.",
        )
    if not await _is_running(settings):
        return CheckResult("ingest", True, "not tried: no monitor runs; the secret is well-formed")
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
    """Whether a monitor answers at the address that people use."""
    try:
        async with _client() as client:
            answer = await client.get(f"{settings.url}/livez")
            return answer.is_success and answer.json() == {"status": "ok"}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


def _client() -> httpx.AsyncClient:
    return BoundedClient(timeout=REQUEST_SECONDS, trust_env=False)


def _try_port(host: str, port: int) -> None:
    listen(host, port).close()
