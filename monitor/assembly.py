"""The wiring: what the service is made of, from its settings."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from monitor import board, outbox
from monitor.airflow_api import AirflowApi
from monitor.channels import AppriseSender, MailSender, Sender, WebhookSender, check_apprise_url
from monitor.clock import Clock
from monitor.continuity import Continuity
from monitor.database import Database
from monitor.database.engine import APPLICATION
from monitor.database.write_check import WriteCheck
from monitor.delivery import Deliverer, Desk, FailedTemplates, Recoveries
from monitor.delivery.budget import Budget
from monitor.event_log import Cursor, LoggedDags
from monitor.feed import Feeds
from monitor.gauges import look_up
from monitor.ingest import Ingest, Logged, Wakes
from monitor.journal import Journal
from monitor.links import Links
from monitor.mailer.door import Door
from monitor.mailer.mailbox import Mailbox
from monitor.mailer.smtp import Server, SmtpMailer
from monitor.metrics import Metrics
from monitor.notify import Engine
from monitor.notify.reminders import Reminders
from monitor.own_files import make_home
from monitor.reconciler import Post, Reconciler
from monitor.reconciler.snapshots import snapshots
from monitor.render import Renderer
from monitor.render.choice import choose
from monitor.replicas import FailedWorks, Link, Listener, SharedTurns, by_turns, turns_of
from monitor.retention import Retention
from monitor.rules import Channel
from monitor.rules.in_force import live_rules
from monitor.rules.live import LiveRules
from monitor.settings import SESSION_WARNING, Settings
from monitor.telling import Telling
from monitor.tracing import Traces, traces_of
from monitor.wake import Wake
from monitor.watches import Watched, Watches
from monitor.web.asked_airflow import AskedAirflow
from monitor.web.gate import Gate
from monitor.web.health_reports import (
    ComponentsReport,
    of_passed_over,
    of_reconciler,
    of_templates,
    of_turns,
    of_works,
)
from monitor.web.lineage import Lineage
from monitor.web.services import Report, Services

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
"""One background task: runs until cancelled; its end, however it comes, is the service's end. What is done by
turns does not end by an error: it is begun anew, and one Airflow's trouble is not the others'."""


@dataclass(frozen=True)
class Parts:
    """The service, taken apart: what handlers use, what runs in the background, what is closed at the end."""

    services: Services
    work: dict[str, Work]
    """In the order of starting; they stop in the other order, the writer of the log last."""
    airflows: list[AirflowApi]


@dataclass(frozen=True)
class _Ground:
    """What all the rest stands on."""

    settings: Settings
    clock: Clock
    database: Database
    metrics: Metrics
    traces: Traces
    apis: dict[str, AirflowApi]
    feeds: Feeds
    logged_dags: LoggedDags
    wakes: Wakes
    continuity: Continuity


def assemble(settings: Settings, clock: Clock, environment: Mapping[str, str]) -> Parts:
    """Raises SettingsError where the settings, or the rules file, cannot be used."""
    ground = _ground(settings, clock)
    database, metrics, apis, wakes = ground.database, ground.metrics, ground.apis, ground.wakes
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, clock, overrides=settings.templates
    )
    names = [template.name for template in renderer.templates()]
    rules = live_rules(settings, environment, clock, check_apprise_url, names)
    telling = Telling(timedelta(hours=settings.notify_max_age_hours), frozenset(apis))
    engine = Engine(lambda: rules.current, telling, choose, settings.mail_host, metrics)
    ingest = Ingest(database, engine, wakes, metrics, clock)
    posts = [_post(ground, ingest, deployment) for deployment in apis]
    mailbox = None if settings.smtp_host else Mailbox(settings.home / "mailbox", clock)
    links = Links(settings.url, settings.link_keys, clock)
    shared = {
        "retention": Retention(database, settings.retention_days, clock, settings.ledger_days).run,
        "reminders": Reminders(database, engine, wakes.delivery, clock).run,
        "recoveries": Recoveries(database, apis, engine, wakes.delivery, clock).run,
        **{f"reconciler {post.deployment}": post.run for post in posts},
        "watches": _watches(ground, ingest, posts, rules),
    }
    write_check = WriteCheck(database, metrics, clock)
    turns = turns_of(database, list(shared), metrics)
    failed = FailedWorks(metrics, clock)
    failed_templates = FailedTemplates(metrics, clock)
    look_up(
        *(metrics, clock, database.engine),
        rules_broken=lambda: rules.problem is not None,
        silent={post.deployment: post.silent_since for post in posts},
    )
    work: dict[str, Work] = {
        "ingest": ingest.run,
        "write check": write_check.run,
        "feed": ground.feeds.publish,
        "feed readers": ground.feeds.attend,
        "rules": rules.run,
        "delivery": _deliverer(
            ground, renderer, links, rules, mailbox, ingest, telling, failed_templates
        ).run,
        **{
            name: by_turns(turns, name, ground.continuity.after_hold(each), failed)
            for name, each in shared.items()
        },
    }
    reports: list[Report] = [of_reconciler(post) for post in posts]
    reports += [ComponentsReport(api) for api in apis.values()]
    reports += [of_passed_over(api, clock) for api in apis.values()]
    reports.append(of_works(failed))
    reports.append(of_templates(failed_templates))
    if isinstance(turns, SharedTurns):
        signals = Listener(Link("listen", database, metrics), wakes.by_word, metrics)
        work |= {"turns": turns.run, "signals": signals.run, "continuity": ground.continuity.run}
        reports.append(of_turns(database, list(shared)))
    if mailbox and settings.mailbox_smtp_port is not None:
        work["mailbox"] = Door(mailbox, settings.mailbox_smtp_port).run
    services = Services(
        settings=settings,
        database=database,
        ingest=ingest,
        wakes=wakes,
        metrics=metrics,
        clock=clock,
        feeds=ground.feeds,
        gate=Gate(settings, apis, database, clock, ground.logged_dags),
        links=links,
        rules=rules,
        renderer=renderer,
        lineage=Lineage(apis, clock),
        asked=AskedAirflow(apis),
        mailbox=mailbox,
        traces=ground.traces,
        write_check=write_check,
        reports=reports,
    )
    return Parts(services, work, list(apis.values()))


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
    feed = Wake()
    continuity = Continuity(database, settings.journal, metrics, clock)
    logged_dags = LoggedDags(database, board.every_dag)
    feeds = Feeds(database, feed, metrics, logged_dags, saw=continuity.saw)

    def hand(after: Cursor, logged: Sequence[Logged]) -> None:
        continuity.wrote(after, logged)
        feeds.hand(after, logged)

    nudges, ends = ({deployment: Wake() for deployment in apis} for _ in range(2))
    wakes = Wakes(feed, Wake(), nudges, ends, hand)
    return _Ground(settings, clock, database, metrics, traces, apis, feeds, logged_dags, wakes, continuity)


def _count_too_long(metrics: Metrics, deployment: str, listing: str) -> None:
    metrics.airflow_rows_too_long.labels(deployment, listing).inc()


def _database(settings: Settings) -> Database:
    return Database(
        settings.database,
        pool_size=settings.database_pool_size,
        statement_timeout=settings.database_statement_timeout,
        name=f"{APPLICATION} {settings.replica}",
    )


def _post(ground: _Ground, ingest: Ingest, deployment: str) -> Post:
    return Post(
        deployment,
        partial(_reconciler, ground, ingest, deployment),
        *(ground.database, ground.metrics, ground.clock),
    )


def _reconciler(ground: _Ground, ingest: Ingest, deployment: str) -> Reconciler:
    settings, api = ground.settings, ground.apis[deployment]
    database, metrics, clock = ground.database, ground.metrics, ground.clock
    return Reconciler(
        *(api, database, ingest, ground.wakes.reconcilers[deployment], metrics, clock),
        interval=settings.reconcile_interval,
        snapshots=snapshots(api, database, ingest, metrics, clock),
        first_look_back=timedelta(hours=settings.first_look_back_hours),
        retention=timedelta(days=settings.retention_days),
        traces=ground.traces,
        run_ended=ground.wakes.run_ended[deployment],
    )


def _watches(ground: _Ground, ingest: Ingest, posts: Sequence[Post], rules: LiveRules) -> Work:
    """Made anew with each turn: what the last one knew is of the past."""
    watched = [Watched(api, post.status) for api, post in zip(ground.apis.values(), posts, strict=True)]
    database = ground.database

    async def run() -> None:
        watches = Watches(
            *(watched, database, ingest, lambda: rules.current.config.watches),
            *(partial(database.read, outbox.trouble), ground.metrics, ground.clock),
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
    telling: Telling,
    failed_templates: FailedTemplates,
) -> Deliverer:
    settings, database, clock = ground.settings, ground.database, ground.clock
    desk = Desk(
        *(database, ground.apis, renderer, links, lambda: rules.current),
        budget=Budget(lambda: rules.current) if settings.smtp_host else None,
        confirm_grace=timedelta(seconds=settings.confirm_grace),
        telling=telling,
        failed_templates=failed_templates,
    )
    return Deliverer(
        *(database, desk, _senders(settings, mailbox, clock), ground.wakes.delivery, ground.metrics, clock),
        host=settings.mail_host,
        log=ingest.log,
        journal=Journal(settings.journal, clock, timedelta(days=settings.ledger_days)),
        traces=ground.traces,
        held_until=ground.continuity.held_until,
    )


def _senders(settings: Settings, mailbox: Mailbox | None, clock: Clock) -> dict[Channel, Sender]:
    return {
        Channel.EMAIL: MailSender(mailbox or SmtpMailer(Server.of(settings))),
        Channel.APPRISE: AppriseSender(),
        Channel.WEBHOOK: WebhookSender(clock),
    }
