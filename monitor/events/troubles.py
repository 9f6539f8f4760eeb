"""Events of what the monitor itself depends on: Airflow's answers, the mail server, each delivery."""

from datetime import datetime, timedelta
from typing import Any

from monitor.events.durations import spoken
from monitor.events.identity import digest, stamp
from monitor.events.model import Event
from monitor.events.watched import RECOVERED, Told, clock_time, own_event


def unreachable_id(deployment: str, since: datetime) -> str:
    return f"airflow_unreachable:{digest(deployment, stamp(since))}"


def unreachable(told: Told, since: datetime, error: str, after: timedelta) -> Event:
    """Airflow does not answer, or refuses every answer."""
    what = f"Airflow {told.deployment} could not be asked since {clock_time(since)}: {error}"
    event_id = unreachable_id(told.deployment, since)
    data = {"what": what, "since": stamp(since), "error": error, "after_seconds": after.total_seconds()}
    return own_event(told, event_id, "windsock.airflow.unreachable", told.deployment, data)


def reachable_again(told: Told, since: datetime) -> Event:
    what = f"Airflow {told.deployment} answers again, after {spoken(told.now - since)}"
    event_id = unreachable_id(told.deployment, since) + RECOVERED
    return _over(told, event_id, "windsock.airflow.recovered", told.deployment, what, since)


def component_id(deployment: str, component: str, since: datetime) -> str:
    return f"airflow_component:{digest(deployment, component, stamp(since))}"


def component_unhealthy(
    told: Told,
    component: str,
    status: str,
    since: datetime,
    heartbeat_at: datetime | None,
    after: timedelta,
) -> Event:
    """A component of Airflow has stopped, or hangs. `since`: its latest heartbeat, where it had one."""
    what = f"Airflow {told.deployment}: the {spelled(component)} is {status} since {clock_time(since)}"
    data = {
        "what": what,
        "component": component,
        "status": status,
        "since": stamp(since),
        "latest_heartbeat": stamp(heartbeat_at) if heartbeat_at else None,
        "after_seconds": after.total_seconds(),
    }
    event_id = component_id(told.deployment, component, since)
    return own_event(told, event_id, "airflow.component.unhealthy", component, data)


def component_recovered(told: Told, component: str, since: datetime) -> Event:
    lasted = told.now - since
    what = f"Airflow {told.deployment}: the {spelled(component)} is healthy again, after {spoken(lasted)}"
    data = {
        "what": what,
        "component": component,
        "since": stamp(since),
        "lasted_seconds": lasted.total_seconds(),
    }
    event_id = component_id(told.deployment, component, since) + RECOVERED
    return own_event(told, event_id, "airflow.component.recovered", component, data)


def spelled(component: str) -> str:
    """`dag-processor`, as Airflow's commands and documentation have it."""
    return component.replace("_", "-")


def mail_failing_id(since: datetime) -> str:
    return f"mail_failing:{digest(stamp(since))}"


def mail_failing(told: Told, since: datetime, error: str, after: timedelta) -> Event:
    """No mail can be sent."""
    what = f"no mail could be sent since {clock_time(since)}: {error}"
    data = {"what": what, "since": stamp(since), "error": error, "after_seconds": after.total_seconds()}
    return own_event(told, mail_failing_id(since), "windsock.mail.failing", "mail", data)


def mail_works_again(told: Told, since: datetime) -> Event:
    what = f"mail is sent again, after {spoken(told.now - since)}"
    event_id = mail_failing_id(since) + RECOVERED
    return _over(told, event_id, "windsock.mail.recovered", "mail", what, since)


def _over(told: Told, event_id: str, kind: str, subject: str, what: str, since: datetime) -> Event:
    lasted = (told.now - since).total_seconds()
    return own_event(
        told, event_id, kind, subject, {"what": what, "since": stamp(since), "lasted_seconds": lasted}
    )


def delivery_trouble(
    told: Told, state: str, delivery: dict[str, Any], attempts: int, since: datetime | None
) -> Event:
    """A word to somebody could not be delivered (`dead`), or waits for the server's next day (`parked`).

    `delivery`: its delivery_id, dag_id, run_id, channel, rule and reason; nobody's address. `attempts` tells
    the second time that it is so, after a resend, from the first.
    """
    outcome = "could not be delivered" if state == "dead" else "waits"
    what = f"a word of the rule {delivery['rule']!r} by {delivery['channel']} {outcome}: {delivery['reason']}"
    event_id = f"delivery:{delivery['delivery_id']}:{state}:{attempts}"
    data = {"what": what, "since": stamp(since) if since else None, **delivery}
    return own_event(
        told, event_id, f"windsock.delivery.{state}", f"delivery {delivery['delivery_id']}", data
    )
