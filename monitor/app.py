"""The service: its wiring, its background tasks, and its start and end.

`create_app` builds the FastAPI application. Its lifespan migrates the database, starts the background tasks,
and ends them in reverse order, so the writer of the log stops last.

`assemble` wires every part from the settings. A task that only one replica may do at a time runs through
`run_as_leader`, and every other task runs in each replica.

`start_background` reports the end of a background task as fatal, because a monitor that serves pages and
sends no mail looks healthy and is not.

`set_gauges` connects the gauges that no other code updates to functions, which give the values at each
scrape. The same function counts the database's errors as they arise.
"""

import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

from fastapi import FastAPI
from sqlalchemy import Engine as DatabaseEngine
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError, OperationalError

from monitor import __version__
from monitor.airflow.client import AirflowApi
from monitor.clock import Clock, utc_now
from monitor.concurrency import WakeSignal, end, repeat_look
from monitor.database.engine import APPLICATION, Database, is_stopped
from monitor.database.leader_election import FailedWorks, PostgresLeaderElection, make_election, run_as_leader
from monitor.database.migrate import migrate
from monitor.database.pubsub import DedicatedConnection, PubSubListener
from monitor.database.write_check import WriteCheck
from monitor.delivery.channels.apprise import AppriseChannel, check_apprise_url
from monitor.delivery.channels.base import Channel, CleanChannel
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.channels.mailbox_server import MailboxServer
from monitor.delivery.channels.smtp import MailChannel, SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.delivery.channels.webhook import WebhookChannel
from monitor.delivery.confirm import Recoveries
from monitor.delivery.failover import FailoverGuard
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.renderer import Renderer, choose
from monitor.delivery.messages.templates import FailedTemplates
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.services import DeliveryServices
from monitor.delivery.suppression import DeliveryBudget
from monitor.delivery.worker import DeliveryWorker
from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.ingest import Ingest, SeqAndEvent, Wakeups
from monitor.event_log.projections import dags
from monitor.feed.connections import FeedServer
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine, Reminders
from monitor.notifications.outbox import queries
from monitor.observability.logging import LEAST_SECRET, secrets_of
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import Traces, traces_of
from monitor.reconciler.loop import Reconciler, ReconcilerHandle, snapshots
from monitor.retention import Retention
from monitor.rules.reload import LiveRules, live_rules
from monitor.rules.targets import ChannelName
from monitor.secret_files import make_home
from monitor.settings import SESSION_WARNING, Settings
from monitor.watches.loop import WatchedAirflow, Watches
from monitor.web.airflow_lookups import AskedAirflow, Lineage
from monitor.web.api.health import (
    ComponentsReport,
    build_leader_report,
    build_reconciler_report,
    build_skipped_rows_report,
    build_work_report,
    of_templates,
)
from monitor.web.auth.authenticator import Authenticator
from monitor.web.auth.sessions import end_all
from monitor.web.routes import mount
from monitor.web.services import Report, Services

Since = Callable[[], datetime | None]
JOURNAL_SECONDS = 10.0  # between two looks at the length of SQLite's journal
JOURNAL_FAILURE = "SQLite's journal is not shortened"
KINDS = ((OperationalError, "operational"), (IntegrityError, "integrity"))


def set_gauges(
    metrics: Metrics,
    clock: Clock,
    engine: DatabaseEngine,
    rules_broken: Callable[[], bool],
    silent: Mapping[str, Since],
) -> None:
    """Connect gauges to functions that give their values at each scrape, and count the database's errors.

    `silent`: since when this replica knows that an Airflow does not answer, by deployment.
    """
    metrics.build.labels(__version__, platform.python_version(), engine.dialect.name).set(1)
    metrics.rules_broken.set_function(lambda: float(rules_broken()))
    for deployment, since in silent.items():
        metrics.airflow_unreachable.labels(deployment).set_function(partial(_seconds, since, clock))
    event.listen(engine, "handle_error", lambda context: _count(metrics, context))


def _seconds(since: Since, clock: Clock) -> float:
    began = since()
    return max(0.0, (clock() - began).total_seconds()) if began else 0.0


def _count(metrics: Metrics, context: ExceptionContext) -> None:
    if context.connection is not None and is_stopped(context.connection):
        return  # its client has gone
    error = context.sqlalchemy_exception
    kind = next((name for shape, name in KINDS if isinstance(error, shape)), "other")
    metrics.database_errors.labels(kind).inc()


logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
"""A background task, which runs until canceled. Its end, however it comes, is the service's end. The work
of a leader (`run_as_leader`) does not end by an error: it begins anew, and one Airflow's trouble is not the
others'."""


@dataclass(frozen=True)
class Parts:
    """The service, taken apart: what handlers use, what runs in the background, what is closed at the end."""

    services: Services
    database: Database
    work: dict[str, Work]
    """The tasks in the order of starting. They stop in the reverse order, the writer of the log last."""
    airflows: list[AirflowApi]


@dataclass(frozen=True)
class _Ground:
    """The parts that all others use."""

    settings: Settings
    clock: Clock
    database: Database
    metrics: Metrics
    traces: Traces
    apis: dict[str, AirflowApi]
    feed_server: FeedServer
    logged_dags: LoggedDags
    wakes: Wakeups
    failover_guard: FailoverGuard


def assemble(settings: Settings, clock: Clock, environment: Mapping[str, str]) -> Parts:
    """Assemble the parts. Raises SettingsError if the settings or the rules file cannot be used."""
    ground = _ground(settings, clock)
    database, metrics, apis, wakes = ground.database, ground.metrics, ground.apis, ground.wakes
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, clock, overrides=settings.templates
    )
    names = [template.name for template in renderer.templates()]
    rules = live_rules(settings, environment, clock, check_apprise_url, names)
    window = NotificationWindow(timedelta(hours=settings.notify_max_age_hours), frozenset(apis))
    engine = Engine(lambda: rules.current, window, choose, settings.mail_host, metrics)
    ingest = Ingest(database, engine.notify_all, wakes, metrics, clock)
    handles = [_post(ground, ingest, deployment) for deployment in apis]
    mailbox = None if settings.smtp_host else Mailbox(settings.home / "mailbox", clock)
    links = Links(settings.url, settings.link_keys, clock)
    failed = FailedWorks(metrics, clock)
    shared = {
        "retention": Retention(database, settings.retention_days, clock, settings.ledger_days).run,
        "reminders": Reminders(
            database=database,
            engine=engine,
            delivery=wakes.delivery,
            clock=clock,
            on_defect=partial(failed.note, "reminders"),
        ).run,
        "recoveries": Recoveries(
            database=database,
            apis=apis,
            engine=engine,
            delivery=wakes.delivery,
            clock=clock,
            on_defect=partial(failed.note, "recoveries"),
        ).run,
        **{f"reconciler {handle.deployment}": handle.run for handle in handles},
        "watches": _watches(ground, ingest, handles, rules),
    }
    write_check = WriteCheck(database, metrics, clock)
    election = make_election(database, list(shared), metrics)
    failed_templates = FailedTemplates(metrics, clock)
    set_gauges(
        metrics=metrics,
        clock=clock,
        engine=database.engine,
        rules_broken=lambda: rules.problem is not None,
        silent={handle.deployment: handle.silent_since for handle in handles},
    )
    work: dict[str, Work] = {
        "ingest": ingest.run,
        "write check": write_check.run,
        "feed": ground.feed_server.publish,
        "feed readers": ground.feed_server.attend,
        "rules": rules.run,
        "journal": partial(
            repeat_look,
            look=database.shorten_journal,
            seconds=JOURNAL_SECONDS,
            failure=JOURNAL_FAILURE,
            on_defect=partial(failed.note, "journal"),
        ),
        "delivery": _deliverer(ground, renderer, links, rules, mailbox, ingest, window, failed_templates).run,
        **{
            name: run_as_leader(election, name, ground.failover_guard.delay_work(task), failed)
            for name, task in shared.items()
        },
    }
    reports: list[Report] = [build_reconciler_report(handle) for handle in handles]
    reports += [ComponentsReport(api) for api in apis.values()]
    reports += [build_skipped_rows_report(api, clock) for api in apis.values()]
    reports.append(build_work_report(failed))
    reports.append(of_templates(failed_templates))
    if isinstance(election, PostgresLeaderElection):
        signals = PubSubListener(DedicatedConnection("listen", database, metrics), wakes.by_signal, metrics)
        work |= {"turns": election.run, "signals": signals.run, "continuity": ground.failover_guard.run}
        reports.append(build_leader_report(database, list(shared)))
    if mailbox and settings.mailbox_smtp_port is not None:
        work["mailbox"] = MailboxServer(mailbox, settings.mailbox_smtp_port).run
    services = Services(
        settings=settings,
        database=database,
        ingest=ingest,
        wakes=wakes,
        metrics=metrics,
        clock=clock,
        feed_server=ground.feed_server,
        authenticator=Authenticator(settings, apis, database, clock, ground.logged_dags),
        links=links,
        rules=rules,
        renderer=renderer,
        lineage=Lineage(apis, clock),
        lookups=AskedAirflow(apis),
        mailbox=mailbox,
        traces=ground.traces,
        write_check=write_check,
        reports=reports,
    )
    return Parts(services, database, work, list(apis.values()))


def _ground(settings: Settings, clock: Clock) -> _Ground:
    make_home(settings.home)
    if settings.shares_database and settings.auth == "airflow" and not settings.session_secret:
        logger.warning(SESSION_WARNING)
    database = _database(settings)
    metrics = Metrics()
    traces = traces_of(settings)
    apis = AirflowApi.all_of(settings, clock)
    for name, api in apis.items():
        api.passed_over.counted = partial(_count_too_long, metrics, name)
    feed = WakeSignal()
    failover_guard = FailoverGuard(
        database,
        settings.journal,
        metrics,
        clock,
        on_new_epoch=end_all,  # a session that was ended in the lost moments must not come back
    )
    logged_dags = LoggedDags(database, dags.every_dag)
    feed_server = FeedServer(database, feed, metrics, logged_dags, saw=failover_guard.saw)

    def hand(after: Cursor, logged: Sequence[SeqAndEvent]) -> None:
        failover_guard.wrote(after, logged)
        feed_server.hand(after, logged)

    nudges, ends = ({deployment: WakeSignal() for deployment in apis} for _ in range(2))
    wakes = Wakeups(feed, WakeSignal(), nudges, ends, hand)
    return _Ground(
        settings, clock, database, metrics, traces, apis, feed_server, logged_dags, wakes, failover_guard
    )


def _count_too_long(metrics: Metrics, deployment: str, listing: str) -> None:
    metrics.airflow_rows_too_long.labels(deployment, listing).inc()


def _database(settings: Settings) -> Database:
    return Database(
        settings.database,
        pool_size=settings.database_pool_size,
        statement_timeout=settings.database_statement_timeout,
        name=f"{APPLICATION} {settings.replica}",
    )


def _post(ground: _Ground, ingest: Ingest, deployment: str) -> ReconcilerHandle:
    return ReconcilerHandle(
        deployment,
        partial(_reconciler, ground, ingest, deployment),
        *(ground.database, ground.metrics, ground.clock),
    )


def _reconciler(ground: _Ground, ingest: Ingest, deployment: str) -> Reconciler:
    settings, api = ground.settings, ground.apis[deployment]
    database, metrics, clock = ground.database, ground.metrics, ground.clock
    return Reconciler(
        api=api,
        database=database,
        ingest=ingest,
        wake=ground.wakes.reconcilers[deployment],
        metrics=metrics,
        clock=clock,
        interval=settings.reconcile_interval,
        snapshots=snapshots(api, database, ingest, metrics, clock),
        first_look_back=timedelta(hours=settings.first_look_back_hours),
        retention=timedelta(days=settings.retention_days),
        traces=ground.traces,
        run_ended=ground.wakes.run_ended[deployment],
    )


def _watches(ground: _Ground, ingest: Ingest, handles: Sequence[ReconcilerHandle], rules: LiveRules) -> Work:
    """Return the work of the watches.
    They are made anew with each term as the leader, because earlier knowledge is outdated."""
    watched = [
        WatchedAirflow(api, handle.status) for api, handle in zip(ground.apis.values(), handles, strict=True)
    ]
    database = ground.database

    async def run() -> None:
        watches = Watches(
            watched=watched,
            database=database,
            ingest=ingest,
            watches=lambda: rules.current.config.watches,
            mail=partial(database.read, queries.find_outage),
            metrics=ground.metrics,
            clock=ground.clock,
            poll_seconds=ground.settings.reconcile_interval,
        )
        await watches.run()

    return run


def _deliverer(
    ground: _Ground,
    renderer: Renderer,
    links: Links,
    rules: LiveRules,
    mailbox: Mailbox | None,
    ingest: Ingest,
    window: NotificationWindow,
    failed_templates: FailedTemplates,
) -> DeliveryWorker:
    settings, database, clock = ground.settings, ground.database, ground.clock
    services = DeliveryServices(
        database=database,
        apis=ground.apis,
        renderer=renderer,
        links=links,
        rules=lambda: rules.current,
        wake=ground.wakes.delivery,
        metrics=ground.metrics,
        clock=clock,
        host=settings.mail_host,
        confirm_grace=timedelta(seconds=settings.confirm_grace),
        budget=DeliveryBudget(lambda: rules.current) if settings.smtp_host else None,
        window=window,
        failed_templates=failed_templates,
        log=ingest.log,
        journal=SentJournal(settings.journal, clock, timedelta(days=settings.ledger_days)),
        traces=ground.traces,
        held_until=ground.failover_guard.hold_end,
    )
    return DeliveryWorker(services, build_channels(settings, mailbox, clock))


def build_channels(settings: Settings, mailbox: Mailbox | None, clock: Clock) -> dict[ChannelName, Channel]:
    """Build the channel of each name: deliveries of a name without one would never be claimed."""
    channels: dict[ChannelName, Channel] = {
        ChannelName.EMAIL: MailChannel(mailbox or SmtpMailer(SmtpServer.from_settings(settings))),
        ChannelName.APPRISE: AppriseChannel(),
        ChannelName.WEBHOOK: WebhookChannel(clock),
    }
    secrets = [secret for secret in secrets_of(settings) if len(secret) >= LEAST_SECRET]
    return {name: CleanChannel(channel, secrets) for name, channel in channels.items()}


def create_app(
    settings: Settings,
    clock: Clock = utc_now,
    on_fatal: Callable[[str], None] = logger.critical,
    environment: Mapping[str, str] = MappingProxyType({}),
    is_migrated: bool = False,
) -> FastAPI:
    """Return the service.
    Its background work runs while the app's lifespan is open. Raises SettingsError.

    `environment` holds what the rules file may name. `on_fatal` is called when a background task has died.
    The process must then end, because a monitor that serves pages and sends no mail looks healthy and is
    not. `is_migrated` says that the caller has brought the database to this release's schema."""
    parts = assemble(settings, clock, environment)
    services = parts.services

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if not is_migrated:
            await asyncio.to_thread(migrate, parts.database)
        await services.authenticator.adopt_tokens()
        tasks = [start_background(name, run, on_fatal) for name, run in parts.work.items()]
        try:
            yield
        finally:
            await end(reversed(tasks))
            await asyncio.gather(*(api.close() for api in parts.airflows))
            await asyncio.to_thread(services.traces.close)
            parts.database.close()

    # Starlette's redirect to a path without a slash at its end goes where the Host header says.
    app = FastAPI(
        title="Windsock",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # web/pages/templates.py serves it
        redirect_slashes=False,
    )
    app.state.services = services
    mount(app, settings)
    return app


def start_background(name: str, run: Work, on_fatal: Callable[[str], None]) -> "asyncio.Task[None]":
    """Run background work as a named task. `on_fatal` is called if it ends before it is cancelled."""

    async def run_guarded() -> None:
        try:
            await run()
        except Exception as error:
            logger.exception("background task %s died", name)
            on_fatal(f"background task {name} died: {error!r}")
        else:
            on_fatal(f"background task {name} ended by itself")

    return asyncio.create_task(run_guarded(), name=name)
