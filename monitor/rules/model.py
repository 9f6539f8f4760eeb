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
Glob = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GLOB)]
Globs = Several[Glob]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
NotifyOn = Literal["first_failure", "every_failure", "recovered", "success", "notice"]
Attempt = Annotated[int, BeforeValidator(no_truth)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
GroupBy = Literal["deployment", "dag_id", "task_id", "type", "run_type", "asset", "owner"]


class RulesModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Match(RulesModel):
    """Which events. A field that is not given takes all; of its values one must match, and every field must.
    Globs know * and ?; upper case is not lower case."""

    type: Globs = ("*",)
    """The event's type (docs/events.md), such as airflow.dag_run.failed or windsock.run.*"""
    deployment: Globs = ()
    """The Airflow's name."""
    dag_id: Globs = ()
    """The event's DAG; of an asset's update, the DAG that made it."""
    task_id: Globs = ()
    """The event's task; of an asset's update, the task that made it."""
    run_type: Globs = ()
    """Of a run: manual, scheduled, asset_triggered, backfill, …"""
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
    """Which events share a notification, as Alertmanager groups alerts."""

    by: Several[GroupBy] = ("deployment", "dag_id")
    """What the events of one group have in common."""
    wait: Duration = timedelta(0)
    """From the first event of a group to its first notification."""
    interval: Duration | None = None
    """Between two notifications of a group. None: 4 h for follow-ups of an incident, 0 for every_failure."""


class QuietHours(RulesModel):
    """Hours without notifications: what is due waits, and is sent together when they end."""

    start: ClockTime
    """By the clock on the wall. A time that occurs twice (the clocks go back) is the first, one that does not
    occur (they go forward) is as much later."""
    end: ClockTime
    """Not after `start`: on the next day. A time that occurs twice is the second."""
    days: Several[Weekday] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """On which they begin."""
    timezone: str | None = None
    """Such as Europe/Zurich. Default: the file's `timezone`."""


class Flapping(RulesModel):
    """An incident that opens more often than this is reported once as flapping, and then only what lasts for
    `within / openings`."""

    openings: int = Field(5, ge=2)
    """How often it opens."""
    within: Minutes = timedelta(hours=6)
    """In how long."""


class Rule(RulesModel):
    """Who is notified of which events, how and how often."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Stands in the ledger, and in the link that unsubscribes from it."""
    match: Match = Match()
    """Which events. Default: all."""
    notify_on: Several[NotifyOn] = ("first_failure", "recovered")
    """When to notify: first_failure (an incident's opening; what joins it is gathered), every_failure (each
    one), recovered (an incident's end), success (each success), notice (what is neither)."""
    to: Several[str] = ()
    """Addresses, or names of receivers. `default` is who is notified without a file."""
    route: bool = True
    """Also to those whom the DAG names: tags `notify:<receiver or address>`, and owners that are either."""
    group: Group = Group()
    """Which events share a notification, and how soon it is sent."""
    repeat: Minutes | None = None
    """Remind of an incident that is open and not acknowledged after so long without a notification of it."""
    quiet_hours: Several[str] = ()
    """Names of quiet hours."""
    flapping: Flapping | None = Flapping()
    """What opens again and again is reported once. null: each opening is reported."""
    template: dict[str, str] = {}
    """Another template by the notification's kind (opened, failure, follow_up, reminder, flapping, recovered,
    success, notice, digest), or for all others as `default`."""
    last: bool = False
    """Rules below are not asked about what this one takes."""


class Webhook(RulesModel):
    """Where events are posted to, signed."""

    url: str
    """http:// or https://"""
    secret: SecretStr
    """whsec_…: signed as Standard Webhooks says. `windsock secret` makes one; write ${NAME} here and keep it
    in the environment."""


class Receiver(RulesModel):
    """Whom a name stands for."""

    email: Several[str] = ()
    """Mail addresses."""
    apprise: Several[SecretStr] = ()
    """Apprise URLs (Slack, Teams, Discord, Telegram, …). They hold secrets: write ${NAME} and keep the URL
    in the environment."""
    webhook: tuple[Webhook, ...] = ()
    """Programs that are notified by a signed POST (Standard Webhooks)."""
    timezone: str | None = None
    """Of times in notifications to this receiver. Default: the file's `timezone`."""


class Routing(RulesModel):
    """Whom a DAG may name in its tags and owners, where a rule says `route`."""

    domains: Globs = ("*",)
    """Mail addresses of these domains. An empty list: none, receivers only."""
    receivers: Globs = ("*",)
    """Names of receivers. An empty list: none, addresses only."""


class Watch(RulesModel):
    """What is reported because it does *not* happen."""

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
    """What is watched (docs/watches.md)."""
    deployment: Globs = ()
    """Of these Airflows only."""
    dag_id: Globs = ()
    """Of these DAGs only."""
    asset: Globs = ()
    """stale, unconsumed: these assets, by name or URI."""
    tags: Globs = ()
    """Of DAGs with these tags only."""
    after: Duration | None = None
    """The absolute bound, or the tolerance; None: the watch's own default (docs/watches.md)."""
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
        """Whether it names DAGs, assets or Airflows, and so goes before one that is for all."""
        return bool(self.dag_id or self.asset or self.tags or self.deployment)


class Budget(RulesModel):
    """Mails in any 24 hours, below what the account may send (Gmail: 500)."""

    daily: int = Field(400, ge=1)
    """At most so many."""
    reserve: int = Field(100, ge=0)
    """The last so many are for failures and recoveries only; the rest goes into a digest."""
    digest_every: Minutes = timedelta(hours=1)
    """How often a digest of what had no room is sent."""


class Config(RulesModel):
    """The whole file (docs/rules.md)."""

    timezone: str = "UTC"
    """Of times in mails, where a receiver has none of its own, and of quiet hours. Such as Europe/Zurich."""
    receivers: dict[Name, Receiver] = {}
    """Names for who is notified. `default` is who is notified without a file: NOTIFICATION_EMAIL_TO."""
    quiet_hours: dict[Name, QuietHours] = {}
    """Names for hours without notifications. A rule that names them keeps them."""
    routing: Routing = Routing()
    """Whom a DAG may name."""
    rules: tuple[Rule, ...] = ()
    """In their order; each that matches notifies. Where they are given, the default ones are gone."""
    watches: tuple[Watch, ...] = ()
    """Beside the default ones, or, by the same name, instead of one."""
    budget: Budget = Budget()
    """How many mails a day."""
