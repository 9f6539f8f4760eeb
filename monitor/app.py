"""The wiring: one function makes the whole service from its settings; tests run it in-process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from fastapi import FastAPI

from monitor import __version__, outbox
from monitor.airflow_api import AirflowApi
from monitor.channels import AppriseSender, MailSender, Sender, WebhookSender, check_apprise_url
from monitor.clock import Clock, utc_now
from monitor.database import Database
from monitor.database.engine import APPLICATION
from monitor.database.migrate import migrate
from monitor.delivery import Deliverer, Desk
from monitor.delivery.budget import Budget
from monitor.ending import end
from monitor.feed import Feeds
from monitor.gauges import look_up
from monitor.ingest import Ingest, Wakes
from monitor.journal import Journal
from monitor.links import Links
from monitor.mailer.door import Door
from monitor.mailer.mailbox import Mailbox
from monitor.mailer.smtp import Server, SmtpMailer
from monitor.metrics import Metrics
from monitor.notify import Engine
from monitor.notify.reminders import Reminders
from monitor.reconciler import Post, Reconciler
from monitor.reconciler.snapshots import snapshots
from monitor.render import Renderer
from monitor.render.choice import choose
from monitor.replicas import Link, Listener, SharedTurns, by_turns, turns_of
from monitor.retention import Retention
from monitor.rules import Channel
from monitor.rules.in_force import live_rules
from monitor.settings import SESSION_WARNING, Settings
from monitor.telling import Telling
from monitor.tracing import Traces, traces_of
from monitor.wake import Wake
from monitor.watches import Watched, Watches
from monitor.web.asked_airflow import AskedAirflow
from monitor.web.gate import Gate
from monitor.web.health_reports import of_reconciler, of_turns
from monitor.web.lineage import Lineage
from monitor.web.routes import mount
from monitor.web.services import Services

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
"""One background task: runs until cancelled; its end, however it comes, is the service's end."""


def create_app(
    settings: Settings,
    clock: Clock = utc_now,
    on_fatal: Callable[[str], None] = logger.critical,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> FastAPI:
    """The service. Its background work runs while the app's lifespan is open. Raises SettingsError.

    `environment` is what the rules file may name. `on_fatal` is told when a background task has died: the
    process must then end, because a monitor that serves pages and sends no mail looks healthy and is not.
    """
    parts = _assemble(settings, clock, environment)
    services = parts.services

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(migrate, services.database)
        tasks = [start_background(name, run, on_fatal) for name, run in parts.work.items()]
        try:
            yield
        finally:
            await end(reversed(tasks))
            await asyncio.gather(*(api.close() for api in parts.airflows))
            await asyncio.to_thread(services.traces.close)
            services.database.close()

    app = FastAPI(title="Windsock", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    mount(app, settings)
    return app


@dataclass(frozen=True)
class Parts:
    """The service, taken apart: what handlers use, what runs in the background, what is closed at the end."""

    services: Services
    work: dict[str, Work]
    """In the order of starting; they stop in the other order, the writer of the log last."""
    airflows: list[AirflowApi]


def _assemble(settings: Settings, clock: Clock, environment: Mapping[str, str]) -> Parts:
    """Raises SettingsError where the settings, or the rules file, cannot be used."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.shares_database and settings.auth == "airflow" and not settings.session_secret:
        logger.warning(SESSION_WARNING)
    database = _database(settings)
    metrics = Metrics()
    traces = traces_of(settings)
    apis = AirflowApi.all_of(settings, clock)
    feed_wake = Wake()
    feeds = Feeds(database, feed_wake, metrics)
    wakes = Wakes(feed_wake, Wake(), {deployment: Wake() for deployment in apis}, hand=feeds.hand)
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, clock, overrides=settings.templates
    )
    names = [template.name for template in renderer.templates()]
    rules = live_rules(settings, environment, clock, check_apprise_url, names)
    telling = Telling(timedelta(hours=settings.tell_within_hours))
    engine = Engine(lambda: rules.current, telling, choose, settings.mail_host, metrics)
    ingest = Ingest(database, engine, wakes, metrics, clock)
    reconcilers = [
        Post(
            deployment,
            partial(
                _reconciler,
                *(settings, api, database, ingest),
                *(wakes.reconcilers[deployment], metrics, clock, traces),
            ),
            *(database, metrics, clock),
        )
        for deployment, api in apis.items()
    ]
    mailbox = None if settings.smtp_host else Mailbox(settings.home / "mailbox", clock)
    links = Links(settings.url, settings.link_keys, clock)
    desk = Desk(
        *(database, apis, renderer, links, lambda: rules.current),
        budget=Budget(lambda: rules.current) if settings.smtp_host else None,
        confirm_grace=timedelta(seconds=settings.confirm_grace),
    )
    deliverer = Deliverer(
        *(database, desk, _senders(settings, mailbox, clock), wakes.delivery, metrics, clock),
        host=settings.mail_host,
        log=ingest.log,
        journal=Journal(settings.journal, clock, timedelta(days=settings.ledger_days)),
        traces=traces,
    )
    watches = partial(
        Watches,
        [Watched(api, each.status) for api, each in zip(apis.values(), reconcilers, strict=True)],
        *(database, ingest, lambda: rules.current.config.watches),
        *(partial(database.read, outbox.trouble), metrics, clock),
    )
    one_at_a_time: dict[str, Work] = {
        "retention": Retention(database, settings.retention_days, clock, settings.ledger_days).run,
        "reminders": Reminders(database, engine, wakes.delivery, clock).run,
        **{f"reconciler {each.deployment}": each.run for each in reconcilers},
        "watches": lambda: watches().run(),
    }
    look_up(
        *(metrics, clock, database.engine),
        rules_broken=lambda: rules.problem is not None,
        silent={each.deployment: each.silent_since for each in reconcilers},
    )
    turns = turns_of(database, list(one_at_a_time), metrics)
    reports = [of_reconciler(each) for each in reconcilers]
    work: dict[str, Work] = {
        "ingest": ingest.run,
        "feed": feeds.publish,
        "feed readers": feeds.attend,
        "rules": rules.run,
        "delivery": deliverer.run,
        **{name: by_turns(turns, name, each) for name, each in one_at_a_time.items()},
    }
    if isinstance(turns, SharedTurns):
        signals = Listener(Link("signals", database, metrics), wakes.by_word, metrics)
        work |= {"turns": turns.run, "signals": signals.run}
        reports.append(of_turns(database, list(one_at_a_time)))
    if mailbox and settings.mailbox_smtp_port is not None:
        work["mailbox"] = Door(mailbox, settings.mailbox_smtp_port).run
    services = Services(
        settings=settings,
        database=database,
        ingest=ingest,
        wakes=wakes,
        metrics=metrics,
        clock=clock,
        feeds=feeds,
        gate=Gate(settings, apis, database, clock),
        links=links,
        rules=rules,
        renderer=renderer,
        lineage=Lineage(apis, clock),
        asked=AskedAirflow(apis),
        mailbox=mailbox,
        traces=traces,
        reports=reports,
    )
    return Parts(services, work, list(apis.values()))


def _database(settings: Settings) -> Database:
    return Database(
        settings.database,
        pool_size=settings.database_pool_size,
        statement_timeout=settings.database_statement_timeout,
        name=f"{APPLICATION} {settings.replica}",
    )


def _reconciler(
    settings: Settings,
    api: AirflowApi,
    database: Database,
    ingest: Ingest,
    wake: Wake,
    metrics: Metrics,
    clock: Clock,
    traces: Traces,
) -> Reconciler:
    return Reconciler(
        *(api, database, ingest, wake, metrics, clock),
        interval=settings.reconcile_interval,
        snapshots=snapshots(api, database, ingest, metrics, clock),
        first_look_back=timedelta(hours=settings.first_look_back_hours),
        retention=timedelta(days=settings.retention_days),
        traces=traces,
    )


def _senders(settings: Settings, mailbox: Mailbox | None, clock: Clock) -> dict[Channel, Sender]:
    return {
        Channel.EMAIL: MailSender(mailbox or SmtpMailer(Server.of(settings))),
        Channel.APPRISE: AppriseSender(),
        Channel.WEBHOOK: WebhookSender(clock),
    }


def start_background(name: str, run: Work, on_fatal: Callable[[str], None]) -> "asyncio.Task[None]":
    """Run background work as a named task; `on_fatal` is told when it ends before it is cancelled."""

    async def guarded() -> None:
        try:
            await run()
        except Exception as error:
            logger.exception("background task %s died", name)
            on_fatal(f"background task {name} died: {error!r}")
        else:
            on_fatal(f"background task {name} ended by itself")

    return asyncio.create_task(guarded(), name=name)
