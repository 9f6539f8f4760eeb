"""Airflow's scheduler, triggerer and dag-processor: nothing else tells that one of them has died, while
Airflow's api-server goes on answering."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from monitor.airflow_api import AirflowApi
from monitor.airflow_api.components import Component, components
from monitor.events import Event, stamp, troubles
from monitor.events.watched import Told
from monitor.rules.model import Watch
from monitor.watches.finding import Finding, Key, Open
from monitor.watches.moments import moment_in

UNHEALTHY = "airflow.component.unhealthy"
AFTER = timedelta(minutes=2)  # where the watch names none: a restart or a rollout is through by then


class Components:
    """Of one Airflow. It remembers since when one is unhealthy that has no heartbeat."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._since: dict[str, datetime] = {}

    async def look(self, watch: Watch | None, told: Mapping[Key, Open], now: datetime) -> list[Finding]:
        """Raises AirflowError."""
        open_ = {one.subject: one for one in told.values() if one.type == UNHEALTHY}
        if watch is None and not open_:
            return []
        found = {one.name: one for one in components(await self._api.health())}
        wrong = [one for one in found.values() if not one.is_healthy]
        since = {one.name: one.heartbeat or self._since.get(one.name, now) for one in wrong}
        self._since = since
        # What Airflow does not tell of any more (its row was cleaned away) has not recovered.
        still = [one.still() for name, one in open_.items() if name not in found or name in since]
        new = [one for one in wrong if one.name not in open_]
        return still + _findings(self._api.deployment, new, since, watch, now)


def recovered(deployment: str, now: datetime, ended: Open) -> Event:
    return troubles.component_recovered(Told(deployment, now, None), ended.subject, moment_in(ended.found))


def _findings(
    deployment: str,
    wrong: Sequence[Component],
    since: Mapping[str, datetime],
    watch: Watch | None,
    now: datetime,
) -> list[Finding]:
    if watch is None:
        return []
    after = AFTER if watch.after is None else watch.after
    told = Told(deployment, now, watch.name)

    def finding(one: Component) -> Finding:
        began = since[one.name]

        def build() -> Event:
            return troubles.component_unhealthy(told, one.name, one.status, began, one.heartbeat, after)

        return Finding(UNHEALTHY, one.name, stamp(began), build)

    return [finding(one) for one in wrong if now - since[one.name] >= after]
