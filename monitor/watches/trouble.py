"""What the monitor itself depends on: Airflow's answers, and the mail server."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from monitor.events import Event, stamp, troubles
from monitor.events.watched import Told
from monitor.outbox import Trouble
from monitor.reconciler import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches.finding import Finding, Open
from monitor.watches.moments import moment_in

UNREACHABLE, FAILING = "windsock.airflow.unreachable", "windsock.mail.failing"
AFTER = timedelta(minutes=5)  # where the watch names none: longer than a restart
MAIL_SUBJECT = "mail"

MailTrouble = Callable[[], Awaitable[Trouble | None]]
"""Since when no mail can be sent, and why; None where it can, as far as is known. Raises SQLAlchemyError."""


def unreachable(
    status: ReconcilerStatus, watch: Watch | None, told: Open | None, now: datetime
) -> list[Finding]:
    """Whether Airflow cannot be asked; what was told stands until it has answered again."""
    since = status.silent_since
    if told and (since or status.last_good is None):  # a restart begins to count anew, and nothing ended
        return [told.still()]
    if watch is None or since is None or now - since < _after(watch):
        return []
    told_with = Told(status.deployment, now, watch.name)
    error = status.last_error or "it does not answer"

    def build() -> Event:
        return troubles.unreachable(told_with, since, error, _after(watch))

    return [Finding(UNREACHABLE, status.deployment, stamp(since), build)]


def reachable_again(deployment: str, now: datetime, ended: Open) -> Event:
    return troubles.reachable_again(Told(deployment, now, None), moment_in(ended.found))


def mail_failing(
    trouble: Trouble | None,
    watch: Watch | None,
    told: Open | None,
    deployment: str,
    now: datetime,
) -> list[Finding]:
    """Whether no mail can be sent."""
    if told and trouble:
        return [told.still()]
    if watch is None or trouble is None or now - trouble.since < _after(watch):
        return []
    told_with = Told(deployment, now, watch.name)

    def build() -> Event:
        return troubles.mail_failing(told_with, trouble.since, trouble.error, _after(watch))

    return [Finding(FAILING, MAIL_SUBJECT, stamp(trouble.since), build)]


def mail_works_again(deployment: str, now: datetime, ended: Open) -> Event:
    return troubles.mail_works_again(Told(deployment, now, None), moment_in(ended.found))


def _after(watch: Watch) -> timedelta:
    return AFTER if watch.after is None else watch.after
