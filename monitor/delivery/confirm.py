"""Ask Airflow whether a report is so, before anybody is told.

A run's hooks fire before Airflow commits, so right after a report Airflow may still say `running`. That is no
contradiction but a question asked early. And what was so may be so no longer: people clear runs and mark
them. Only runs and tasks are asked about; what a watch finds, and import errors, are the monitor's own
reading. That a run is gone is believed to Airflow's own word on this very run alone (AirflowNotFound):
whatever else answers 404 for Airflow has not answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from monitor.delivery.airflow import Airflow
from monitor.errors import AirflowError, AirflowNotFound
from monitor.events import Event
from monitor.events.data import DELETED, TEST, DagRunData, TaskInstanceData
from monitor.events.identity import run_key
from monitor.events.rest import run_type_of
from monitor.events.values import MOMENT

CONFIRM_SECONDS = 60.0  # for all questions about one notification; then that counts as no answer
ASKED_AT_ONCE = 5  # of them: Airflow has other work
UNFINISHED_RUN = ("queued", "running")
UNFINISHED_TASK = (None, "scheduled", "queued", "running", "deferred", "restarting")
ON_THE_WAY = ("running", "up_for_retry")
"""States that are left again: that Airflow says a later one is no contradiction."""

Row = Mapping[str, Any]


class Word(Enum):
    SO = "so"
    NOT_SO = "not so"
    NOT_YET = "not yet"
    NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Answer:
    """Airflow's word on a report, with the reason where it is not simply so."""

    word: Word
    why: str = ""
    changed_at: datetime | None = field(default=None, compare=False)
    """When Airflow says that the state changed; None if it was not asked, or does not say."""


SO = Answer(Word.SO)
GONE = Answer(Word.NOT_SO, "Airflow does not know this run; it was deleted")
IS_TEST = Answer(Word.NOT_SO, "the run is a test (airflow dags test), no production")


async def ask(airflow: Airflow | None, event: Event) -> Answer:
    """What Airflow says of an event. Where there is no Airflow to ask, the report stands."""
    data = event.data
    if airflow is None or not isinstance(data, (DagRunData, TaskInstanceData)):
        return SO
    try:
        if isinstance(data, DagRunData):
            return _of_run(await airflow.dag_run(data.dag_id, data.run_id), data)
        answer = await _of_task(airflow, data)
        if answer.word is Word.SO and run_type_of(await airflow.dag_run(data.dag_id, data.run_id)) == TEST:
            return IS_TEST
        return answer
    except AirflowNotFound:
        return SO if data.state == DELETED else GONE
    except (AirflowError, ValueError) as error:
        return Answer(Word.NO_ANSWER, str(error))


async def ask_all(apis: Mapping[str, Airflow], events: Sequence[Event]) -> list[Answer]:
    """What each event's Airflow says of it."""
    if not any(apis.get(event.deployment) for event in events):  # then no clock is needed for the answers
        return [SO for _ in events]
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(event: Event) -> Answer:
        async with turns:
            return await ask(apis.get(event.deployment), event)

    async def together() -> list[Answer]:
        return await asyncio.gather(*map(one, events))

    try:
        return await asyncio.wait_for(together(), CONFIRM_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        late = f"Airflow did not answer {len(events)} questions within {CONFIRM_SECONDS:.0f} s"
        return [Answer(Word.NO_ANSWER, late) for _ in events]


def _of_run(run: Row, told: DagRunData) -> Answer:
    """Raises ValueError where the answer is not a run."""
    if told.state == DELETED:
        return Answer(Word.NOT_SO, f"Airflow has the run; it says {run.get('state')}")
    if run_type_of(run) == TEST:
        return IS_TEST
    state = run.get("state")
    start, queued = (MOMENT.validate_python(run.get(name)) for name in ("start_date", "queued_at"))
    if run_key(told.dag_id, told.run_id, start, queued) != run_key(
        told.dag_id, told.run_id, told.start_date, told.queued_at
    ):
        return Answer(Word.NOT_SO, f"the run was cleared and began anew; Airflow says {state}")
    return _compared(state, told.state, UNFINISHED_RUN, run)


async def _of_task(airflow: Airflow, told: TaskInstanceData) -> Answer:
    for states in ((told.state,), ()):  # in most cases the first, short list has it
        rows = await airflow.task_instances(told.dag_id, told.run_id, states)
        for row in filter(_is_of(told), rows):
            if _is_same_try(row, told):
                return _compared(row.get("state"), told.state, UNFINISHED_TASK, row)
            if not states:
                return _of_another_try(row, told)
    return Answer(Word.NOT_SO, "Airflow does not know this task any more")


def _is_of(told: TaskInstanceData) -> Callable[[Row], bool]:
    return lambda row: (row.get("task_id"), row.get("map_index", -1)) == (told.task_id, told.map_index)


def _is_same_try(row: Row, told: TaskInstanceData) -> bool:
    is_same_number = row.get("try_number") == told.try_number
    ti_id = row.get("id", told.ti_id)
    if told.ti_id is None or ti_id is None:
        return is_same_number
    # The UUID names the try. One that failed while it was queued goes on under the next number.
    return bool(ti_id == told.ti_id) and (is_same_number or told.state not in ON_THE_WAY)


def _of_another_try(row: Row, told: TaskInstanceData) -> Answer:
    if told.state in ON_THE_WAY:
        return SO
    said = f"try {row.get('try_number')} is {row.get('state')}"
    return Answer(Word.NOT_SO, f"the task was cleared and ran anew; Airflow says {said}")


def _compared(said: Any, told: str, unfinished: tuple[str | None, ...], row: Row) -> Answer:
    """Raises ValueError if the row's date is none."""
    if said == told:
        date = row.get("start_date" if told == "running" else "end_date")
        return Answer(Word.SO, changed_at=MOMENT.validate_python(date))
    if said in unfinished and said != "up_for_retry":
        return Answer(Word.NOT_YET, f"reported {told}, and Airflow still says {said}")
    if told in ON_THE_WAY:
        return SO
    return Answer(Word.NOT_SO, f"Airflow says {said}")
