"""The rules file, as it is once it has been read: who hears what, in which form, how often (docs/rules.md)."""

from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from monitor.rules.durations import duration

Duration = Annotated[timedelta, BeforeValidator(duration)]
"""Written as people write it: 30s, 15m, 4h, 1d, 1h30m."""
Globs = tuple[str, ...]
Tell = Literal["first_failure", "every_failure", "recovered", "success", "notice"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(Part):
    """Which events. A value that is not given takes all; of several, one must match; globs have * and ?."""

    type: Globs = ("*",)
    deployment: Globs = ()
    dag_id: Globs = ()
    task_id: Globs = ()
    run_type: Globs = ()
    asset: Globs = ()
    tags: Globs = ()
    owners: Globs = ()
    attempt: tuple[int, ...] = ()
    """Try numbers of a task."""


class Group(Part):
    """As Alertmanager has it."""

    by: tuple[Literal["deployment", "dag_id", "task_id", "type", "run_type", "asset", "owner"], ...] = (
        "deployment",
        "dag_id",
    )
    wait: Duration = timedelta(0)
    """From the first event of a group to its first notification."""
    interval: Duration | None = None
    """Between two notifications of a group. None: 4 h for follow-ups of an incident, 0 for every_failure."""


class QuietHours(Part):
    """When nobody is told: it waits, and is told together, when they end."""

    start: time
    end: time
    """Before `start`: on the next day."""
    days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """On which they begin."""
    timezone: str = "UTC"


class Flapping(Part):
    """An incident that opens more often than this is told once as flapping, and then no more until it is quiet
    for as long."""

    openings: int = Field(5, ge=2)
    within: Duration = timedelta(hours=6)


class Rule(Part):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    match: Match = Match()
    tell: tuple[Tell, ...] = ("first_failure", "recovered")
    to: tuple[str, ...] = ()
    """Addresses, or names of receivers."""
    route: bool = True
    """Also to whom the DAG itself names: tags `notify:<receiver or address>`, and owners that are either."""
    group: Group = Group()
    repeat: Duration | None = None
    """Remind of an incident that is open, not acknowledged, and of which nothing was told for so long."""
    quiet_hours: tuple[str, ...] = ()
    """Names of quiet hours."""
    flapping: Flapping | None = Flapping()
    template: dict[str, str] = {}
    """Another template by the notification's kind, or `default`."""
    last: bool = False
    """Rules below are not asked about what this one takes."""


class Webhook(Part):
    url: str
    secret: SecretStr
    """whsec_…: signed as Standard Webhooks says."""


class Receiver(Part):
    """Whom a name stands for."""

    email: tuple[str, ...] = ()
    apprise: tuple[SecretStr, ...] = ()
    webhook: tuple[Webhook, ...] = ()
    timezone: str | None = None


class Watch(Part):
    """What is told because it does *not* happen."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    watch: Literal["missing", "late", "stuck", "stale", "unconsumed", "unreachable", "mail"]
    deployment: Globs = ()
    dag_id: Globs = ()
    asset: Globs = ()
    tags: Globs = ()
    after: Duration | None = None
    """The absolute bound, or the tolerance; None: the watch's own default (docs/watches.md)."""
    floor: Duration = timedelta(minutes=10)
    """stuck, stale: shorter than this is never unusual, whatever the history says."""
    spreads: Annotated[float, Field(gt=0)] = 5.0
    """stuck, stale: how many spreads (median absolute deviations) above the median are unusual."""
    off: bool = False


class Budget(Part):
    """Mails in any 24 hours, below what the account may send (Gmail: 500)."""

    daily: int = Field(400, ge=1)
    reserve: int = Field(100, ge=0)
    """The last so many are for failures and recoveries only; the rest is told in a digest."""
    digest_every: Duration = timedelta(hours=1)


class Config(Part):
    """The whole file."""

    timezone: str = "UTC"
    """Of times in mails, where a receiver has none of its own."""
    receivers: dict[str, Receiver] = {}
    quiet_hours: dict[str, QuietHours] = {}
    rules: tuple[Rule, ...] = ()
    watches: tuple[Watch, ...] = ()
    budget: Budget = Budget()
