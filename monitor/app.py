"""The wiring: one function makes the whole service from its settings; tests run it in-process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from fastapi import FastAPI

from monitor import __version__
from monitor.airflow_api import AirflowApi
from monitor.channels import AppriseSender, MailSender, Sender, WebhookSender, check_apprise_url
from monitor.clock import Clock, utc_now
from monitor.database import Database
from monitor.database.migrate import migrate
from monitor.delivery import Deliverer, Desk
from monitor.delivery.budget import Budget
from monitor.feed import Feeds
from monitor.gauges import look_up
from monitor.ingest import Ingest, Wakes
from monitor.links import Links
from monitor.mailer.door import Door
from monitor.mailer.mailbox import Mailbox
from monitor.mailer.smtp import Server, SmtpMailer
from monitor.metrics import Metrics
from monitor.notify import Engine
from monitor.notify.reminders import Reminders
from monitor.reconciler import Reconciler, ReconcilerStatus
from monitor.reconciler.snapshots import snapshots
from monitor.render import Renderer
from monitor.render.choice import choose
from monitor.retention import Retention
from monitor.rules import Channel
from monitor.rules.in_force import live_rules
from monitor.settings import Settings
from monitor.telling import Telling
from monitor.tracing import Traces, traces_of
from monitor.wake import Wake
from monitor.watches import Watched, Watches
from monitor.web.asked_airflow import AskedAirflow
from monitor.web.gate import Gate
from monitor.web.health import of_reconciler
from monitor.web.lineage import Lineage
from monitor.web.routes import mount
from monitor.web.services import Services
from monitor.web.token_lookup import TokenLookup

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
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
    database = Database(settings.database)
    metrics = Metrics()
    traces = traces_of(settings)
    apis = AirflowApi.all_of(settings, clock)
    wakes = Wakes(Wake(), Wake(), {deployment: Wake() for deployment in apis})
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, clock, overrides=settings.templates
    )
    names = [template.name for template in renderer.templates()]
    rules = live_rules(settings, environment, clock, check_apprise_url, names)
    telling = Telling(timedelta(hours=settings.tell_within_hours))
    engine = Engine(lambda: rules.current, telling, choose, settings.mail_host, metrics)
    ingest = Ingest(database, engine, wakes, metrics, clock)
    reconcilers = [
        _reconciler(settings, api, database, ingest, wakes.reconcilers[deployment], metrics, clock, traces)
        for deployment, api in apis.items()
    ]
    mailbox = None if settings.smtp_host else Mailbox(settings.home / "mailbox", clock)
    feeds = Feeds(database, wakes.feed, metrics)
    links = Links(settings.url, settings.link_key, clock)
    desk = Desk(
        *(database, apis, renderer, links, lambda: rules.current),
        budget=Budget(lambda: rules.current) if settings.smtp_host else None,
        confirm_grace=timedelta(seconds=settings.confirm_grace),
    )
    deliverer = Deliverer(
        *(database, desk, _senders(settings, mailbox, clock), wakes.delivery, metrics, clock),
        host=settings.mail_host,
        log=ingest.log,
        traces=traces,
    )
    watches = Watches(
        [Watched(api, _status(each)) for api, each in zip(apis.values(), reconcilers, strict=True)],
        *(database, ingest, lambda: rules.current.config.watches, deliverer.mail_trouble, metrics, clock),
    )
    look_up(
        *(metrics, clock, database.engine),
        mail_failing=lambda: deliverer.mail.failing_since,
        rules_broken=lambda: rules.problem is not None,
        airflows=[_status(each) for each in reconcilers],
    )
    work: dict[str, Work] = {
        "ingest": ingest.run,
        "feed": feeds.publish,
        "feed readers": feeds.attend,
        "rules": rules.run,
        "retention": Retention(database, settings.retention_days, clock).run,
        "delivery": deliverer.run,
        "reminders": Reminders(database, engine, wakes.delivery, clock).run,
        **{f"reconciler {each.status.deployment}": each.run for each in reconcilers},
        "watches": watches.run,
    }
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
        gate=Gate(settings, apis, clock, TokenLookup(database, clock)),
        links=links,
        rules=rules,
        renderer=renderer,
        lineage=Lineage(apis, clock),
        asked=AskedAirflow(apis),
        mailbox=mailbox,
        traces=traces,
        reports=[of_reconciler(each) for each in reconcilers],
    )
    return Parts(services, work, list(apis.values()))


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


def _status(reconciler: Reconciler) -> Callable[[], ReconcilerStatus]:
    return lambda: reconciler.status


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
