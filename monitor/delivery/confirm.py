"""Ask Airflow whether a report is so, before anybody is mailed.

A run's hooks fire before Airflow commits, so right after a report Airflow may still say `running`. That is no
contradiction but a question asked early: it is asked again, soon at first. It is asked for long, because the
scheduler may have died between its hook and its commit; then the same occurrence ends later, is reported
under the same id, and that report is a duplicate: this delivery is the one that will tell of it.

Where no Airflow is configured for a deployment there is nobody to ask: the mail goes out without waiting, and
without the mark, which would stand on every mail and say nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, TypeAdapter

from monitor.delivery.airflow import Airflow
from monitor.delivery.retry import look_again
from monitor.errors import AirflowError, AirflowNotFound
from monitor.events.data import DagRunData
from monitor.events.identity import run_key
from monitor.outbox import Delivery, Outcome, State

SETTLE_FOR = timedelta(days=1)  # longer than any restart of Airflow; then a report was of nothing
UNFINISHED = ("queued", "running")

MOMENT: TypeAdapter[datetime | None] = TypeAdapter(AwareDatetime | None)


@dataclass(frozen=True)
class Confirmed:
    """The mail may go out."""

    unconfirmed: str | None = None
    """Why it must be marked as unconfirmed."""


async def confirm(
    airflow: Airflow | None, delivery: Delivery, told: DagRunData, now: datetime, grace: timedelta
) -> Confirmed | Outcome:
    """Whether the mail goes out, waits, or has been overtaken by what happened since.

    `grace` is how long a mail waits for an Airflow that cannot be asked.
    """
    if airflow is None:
        return Confirmed()
    try:
        run = await airflow.dag_run(told.dag_id, told.run_id)
        return _judge(run, delivery, told, now)
    except AirflowNotFound:
        return Outcome(State.SUPERSEDED, "superseded: Airflow does not know this run; it was deleted")
    except (AirflowError, ValueError) as error:
        return _not_asked(str(error), delivery, now, delivery.created_at + grace)


def _judge(
    run: Mapping[str, Any], delivery: Delivery, told: DagRunData, now: datetime
) -> Confirmed | Outcome:
    """Compare. Raises ValueError where the answer is not a run."""
    state = run.get("state")
    if _key(run, told) != run_key(told.dag_id, told.run_id, told.start_date, told.queued_at):
        return Outcome(
            State.SUPERSEDED, f"superseded: the run was cleared and began anew; Airflow says {state}"
        )
    if state == told.state:
        return Confirmed()
    if state not in UNFINISHED:
        return Outcome(State.SUPERSEDED, f"superseded: Airflow says {state}")
    if now - delivery.created_at >= SETTLE_FOR:
        return Outcome(State.SUPERSEDED, f"superseded: a day after the report Airflow still says {state}")
    reason = f"reported {told.state}, and Airflow still says {state}: asking again"
    return Outcome(State.PENDING, reason, look_again(delivery.created_at, now))


def _key(run: Mapping[str, Any], told: DagRunData) -> str:
    start, queued = (MOMENT.validate_python(run.get(name)) for name in ("start_date", "queued_at"))
    return run_key(told.dag_id, told.run_id, start, queued)


def _not_asked(why: str, delivery: Delivery, now: datetime, until: datetime) -> Confirmed | Outcome:
    if now >= until:
        return Confirmed(unconfirmed=why)
    reason = f"waiting for Airflow to confirm: {why}"
    return Outcome(State.PENDING, reason, min(look_again(delivery.created_at, now), until))
