"""The model of the rules file: recipients, events and timing of notifications (docs/rules.md).

The docstrings of the fields are the texts that docs/windsock.schema.json shows in editors.
"""

from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
)

from monitor.plain_text import no_nul
from monitor.rules.field_types import (
    MAX_GLOB,
    ClockTimeForm,
    DurationForm,
    Several,
    a_minute_at_least,
    clock_time,
    duration,
    format_duration,
    no_truth,
)

WITHOUT_HISTORY = timedelta(hours=6)
"""Longer than most runs take, and short enough to report a run that hangs within a working day."""
MAX_NAME = 100  # characters of a receiver's or quiet hours' name: it stands in the ledger's rows

Duration = Annotated[
    timedelta, BeforeValidator(duration), PlainSerializer(format_duration, when_used="json"), DurationForm()
]
"""Written as people write it: 30s, 15m, 4h, 1d, 1h30m."""
Minutes = Annotated[Duration, AfterValidator(a_minute_at_least)]
ClockTime = Annotated[time, BeforeValidator(clock_time), ClockTimeForm()]
"""Written as 22:00."""
Glob = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GLOB), AfterValidator(no_nul)]
Globs = Several[Glob]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
NotifyOn = Literal["first_failure", "every_failure", "recovered", "success", "notice"]
Attempt = Annotated[int, BeforeValidator(no_truth)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
GroupBy = Literal["deployment", "dag_id", "task_id", "type", "run_type", "asset", "owner"]


class RulesModel(BaseModel):
    """The base of the rules file's models."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Match(RulesModel):
    """The filter of events.
    A field that is not given takes all. Otherwise one of its values must match, in every field. Globs know *
    and ?, and case counts."""

    type: Globs = ("*",)
    """The event's type (docs/events.md), such as airflow.dag_run.failed or windsock.run.*"""
    deployment: Globs = ()
    """The Airflow's name."""
    dag_id: Globs = ()
    """The event's DAG. For an asset's update, the DAG that made it."""
    task_id: Globs = ()
    """The event's task. For an asset's update, the task that made it."""
    run_type: Globs = ()
    """The run's type: manual, scheduled, asset_triggered, backfill, …"""
    asset: Globs = ()
    """The asset's name, or its URI."""
    tags: Globs = ()
    """The DAG's tags, as Airflow lists them."""
    owners: Globs = ()
    """The DAG's owners, as Airflow lists them."""
    attempt: Several[Attempt] = ()
    """Try numbers of a task: 1 is the first."""
    any_of: "tuple[Match, ...]" = ()
    """Further matches, of which one must take the event too."""
    none_of: "tuple[Match, ...]" = ()
    """Further matches, of which none may take the event."""


class Group(RulesModel):
    """The events that share a notification, as Alertmanager groups alerts."""

    by: Several[GroupBy] = ("deployment", "dag_id")
    """The values that the events of one group share."""
    wait: Duration = timedelta(0)
    """The time from the first event of a group to its first notification."""
    interval: Duration | None = None
    """Between two notifications of a group. None: 4 h for follow-ups of an incident, 0 for every_failure."""


class QuietHours(RulesModel):
    """The hours without notifications. What is due waits and is sent together when the hours end."""

    start: ClockTime
    """The start by the local clock. If a time occurs twice (the clocks go back), the first counts. If it
    does not occur (they go forward), it is as much later."""
    end: ClockTime
    """Not after `start`: on the next day. A time that occurs twice is the second."""
    days: Several[Weekday] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """On which they begin."""
    timezone: str | None = None
    """The time zone, such as Europe/Zurich. Default: the file's `timezone`."""


class Flapping(RulesModel):
    """The limit of repeated openings.
    An incident that opens more often is reported once as flapping. After that it is reported only if it
    lasts for `within / openings`."""

    openings: int = Field(5, ge=2)
    """The number of openings."""
    within: Minutes = timedelta(hours=6)
    """The time in which they happen."""


class Rule(RulesModel):
    """A rule: the events, the recipients, and how and how often they are notified."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Stands in the ledger, and in the link that unsubscribes from it."""
    match: Match = Match()
    """The events that the rule is for. Default: all."""
    notify_on: Several[NotifyOn] = ("first_failure", "recovered")
    """The occasions to notify: first_failure (an incident's opening, while later failures are gathered),
    every_failure (each one), recovered (an incident's end), success (each success), notice (what is
    neither)."""
    to: Several[str] = ()
    """Addresses, or names of receivers. `default` is who is notified without a file."""
    route: bool = True
    """Also notify those that the DAG names: tags `notify:<receiver or address>`, and owners that are either.
    """
    group: Group = Group()
    """The events that share a notification, and how soon it is sent."""
    repeat: Minutes | None = None
    """Remind of an incident that is open and not acknowledged after so long without a notification of it."""
    quiet_hours: Several[str] = ()
    """Names of quiet hours."""
    flapping: Flapping | None = Flapping()
    """The limit of repeated openings, which are reported once. null: each opening is reported."""
    template: dict[str, str] = {}
    """Another template by the notification's kind (opened, failure, follow_up, reminder, flapping, recovered,
    success, notice, digest), or for all others as `default`."""
    last: bool = False
    """Rules below are not asked about what this one takes."""


class Webhook(RulesModel):
    """The address to which signed events are posted."""

    url: str
    """http:// or https://"""
    secret: SecretStr
    """A secret whsec_…, with which events are signed as Standard Webhooks says. `windsock secret` makes one.
    Write ${NAME} here and keep the secret in the environment."""


class Receiver(RulesModel):
    """The addresses that a name stands for."""

    email: Several[str] = ()
    """Mail addresses."""
    apprise: Several[SecretStr] = ()
    """Apprise URLs (Slack, Teams, Discord, Telegram, …). They hold secrets: write ${NAME} and keep the URL
    in the environment."""
    webhook: tuple[Webhook, ...] = ()
    """Programs that are notified by a signed POST (Standard Webhooks)."""
    timezone: str | None = None
    """The time zone of times in notifications to this receiver. Default: the file's `timezone`."""


class Routing(RulesModel):
    """The recipients that a DAG may name in its tags and owners, if a rule says `route`."""

    domains: Globs = ("*",)
    """Mail addresses of these domains. An empty list: none, receivers only."""
    receivers: Globs = ("*",)
    """Names of receivers. An empty list: none, addresses only."""


class Watch(RulesModel):
    """A watch for something that does *not* happen."""

    name: Name
    """That of a watch which is there without a file (missing, stuck, auto_paused, component, unreachable,
    mail) changes that one."""
    watch: Literal[
        "missing",
        "late",
        "stuck",
        "stale",
        "unconsumed",
        "auto_paused",
        "component",
        "unreachable",
        "mail",
    ]
    """The kind of watch (docs/watches.md)."""
    deployment: Globs = ()
    """Only these Airflows."""
    dag_id: Globs = ()
    """Only these DAGs."""
    asset: Globs = ()
    """stale, unconsumed: these assets, by name or URI."""
    tags: Globs = ()
    """Only DAGs with these tags."""
    after: Duration | None = None
    """The absolute bound, or the tolerance. None: the watch's own default (docs/watches.md)."""
    floor: Duration = timedelta(minutes=10)
    """stuck, stale: shorter than this is never unusual, whatever the history says."""
    without_history: Duration = WITHOUT_HISTORY
    """stuck: the bound for a DAG that has fewer than five successful runs to compare with."""
    spreads: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """stuck, stale: how many spreads (median absolute deviations) above the median are unusual."""
    off: bool = False
    """No such watch."""

    @property
    def is_for_some(self) -> bool:
        """True if the watch names DAGs, assets or Airflows. Such a watch goes before a watch for all."""
        return bool(self.dag_id or self.asset or self.tags or self.deployment)


class Budget(RulesModel):
    """The mails in any 24 hours, below what the account may send (Gmail: 500)."""

    daily: int = Field(400, ge=1)
    """At most so many."""
    reserve: int = Field(100, ge=0)
    """The last so many are for failures and recoveries only. The rest goes into a digest."""
    digest_every: Minutes = timedelta(hours=1)
    """The time between two digests of what had no room."""


class Config(RulesModel):
    """The whole file (docs/rules.md)."""

    timezone: str = "UTC"
    """The time zone of times in mails, unless a receiver has its own, and of quiet hours. Such as
    Europe/Zurich."""
    receivers: dict[Name, Receiver] = {}
    """Names for who is notified. `default` is who is notified without a file: NOTIFICATION_EMAIL_TO."""
    quiet_hours: dict[Name, QuietHours] = {}
    """Names for hours without notifications. A rule that names them keeps them."""
    routing: Routing = Routing()
    """The recipients that a DAG may name."""
    rules: tuple[Rule, ...] = ()
    """The rules, in their order. Each that matches notifies. They replace the default rules."""
    watches: tuple[Watch, ...] = ()
    """The watches besides the default ones. A watch with the name of a default one replaces it."""
    budget: Budget = Budget()
    """The number of mails a day."""
