"""The watches of the systems that the monitor depends on: Airflow, its components and the mail server.

`Components` watches Airflow's scheduler, triggerer and dag-processor. Nothing else reports that one of them
has died, because Airflow's api-server goes on answering.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from monitor.airflow.client import AirflowApi, Component, components
from monitor.events import from_watches
from monitor.events.event import Event
from monitor.events.from_watches import WatchContext
from monitor.events.identity import stamp
from monitor.notifications.outbox.queries import ChannelOutage
from monitor.reconciler.status import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches.findings import Finding, Key, OpenFinding, moment_in

UNREACHABLE, FAILING = "windsock.airflow.unreachable", "windsock.mail.failing"
OUTAGE_AFTER = timedelta(minutes=5)  # where the watch names none: longer than a restart
MAIL_SUBJECT = "mail"

MailTrouble = Callable[[], Awaitable[ChannelOutage | None]]
"""A function that returns since when no mail can be sent, and why. None means that mail works, as far as is
known. Raises SQLAlchemyError."""


def unreachable(
    status: ReconcilerStatus, watch: Watch | None, finding: OpenFinding | None, now: datetime
) -> list[Finding]:
    """Return a finding if Airflow cannot be asked.
    An open finding stands until Airflow has answered again."""
    since = status.silent_since
    if finding and (since or status.last_good is None):  # a restart begins to count anew, and nothing ended
        return [finding.still()]
    if watch is None or since is None or now - since < _tolerance_of(watch):
        return []
    context = WatchContext(status.deployment, now, watch.name)
    error = status.last_error or "it does not answer"

    def build() -> Event:
        return from_watches.unreachable(context, since, error, _tolerance_of(watch))

    return [Finding(UNREACHABLE, status.deployment, stamp(since), build)]


def reachable_again(deployment: str, now: datetime, ended: OpenFinding) -> Event:
    """Return the event that Airflow answers again."""
    return from_watches.reachable_again(WatchContext(deployment, now, None), moment_in(ended.found))


def mail_failing(
    trouble: ChannelOutage | None,
    watch: Watch | None,
    finding: OpenFinding | None,
    deployment: str,
    now: datetime,
) -> list[Finding]:
    """Return a finding if no mail can be sent."""
    if finding and trouble:
        return [finding.still()]
    if watch is None or trouble is None or now - trouble.since < _tolerance_of(watch):
        return []
    context = WatchContext(deployment, now, watch.name)

    def build() -> Event:
        return from_watches.mail_failing(context, trouble.since, trouble.error, _tolerance_of(watch))

    return [Finding(FAILING, MAIL_SUBJECT, stamp(trouble.since), build)]


def mail_works_again(deployment: str, now: datetime, ended: OpenFinding) -> Event:
    """Return the event that mail works again."""
    return from_watches.mail_works_again(WatchContext(deployment, now, None), moment_in(ended.found))


def _tolerance_of(watch: Watch) -> timedelta:
    return OUTAGE_AFTER if watch.after is None else watch.after


UNHEALTHY = "airflow.component.unhealthy"
UNHEALTHY_AFTER = timedelta(
    minutes=2
)  # where the watch names none: a restart or a rollout is through by then


class Components:
    """The watch of one Airflow's components.
    For a component without a heartbeat it remembers since when it is unhealthy."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._since: dict[str, datetime] = {}

    async def look(
        self, watch: Watch | None, findings: Mapping[Key, OpenFinding], now: datetime
    ) -> list[Finding]:
        """Return the components that are unhealthy for too long. Raises AirflowError."""
        open_ = {finding.subject: finding for finding in findings.values() if finding.type == UNHEALTHY}
        if watch is None and not open_:
            return []
        found = {component.name: component for component in components(await self._api.health())}
        wrong = [component for component in found.values() if not component.is_healthy]
        since = {
            component.name: component.heartbeat or self._since.get(component.name, now) for component in wrong
        }
        self._since = since
        # A component that Airflow no longer reports (its row was cleaned away) has not recovered.
        still = [finding.still() for name, finding in open_.items() if name not in found or name in since]
        new = [component for component in wrong if component.name not in open_]
        return still + _findings(self._api.deployment, new, since, watch, now)


def build_recovered_event(deployment: str, now: datetime, ended: OpenFinding) -> Event:
    """Return the event that a component is healthy again."""
    return from_watches.component_recovered(
        WatchContext(deployment, now, None), ended.subject, moment_in(ended.found)
    )


def _findings(
    deployment: str,
    wrong: Sequence[Component],
    since: Mapping[str, datetime],
    watch: Watch | None,
    now: datetime,
) -> list[Finding]:
    if watch is None:
        return []
    after = UNHEALTHY_AFTER if watch.after is None else watch.after
    context = WatchContext(deployment, now, watch.name)

    def finding(component: Component) -> Finding:
        began = since[component.name]

        def build() -> Event:
            return from_watches.component_unhealthy(
                context, component.name, component.status, began, component.heartbeat, after
            )

        return Finding(UNHEALTHY, component.name, stamp(began), build)

    return [finding(component) for component in wrong if now - since[component.name] >= after]
