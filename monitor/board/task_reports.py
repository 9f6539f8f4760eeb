"""What was reported of tasks, on the board: of the task itself, and of each of its tries."""

from collections.abc import Sequence

from sqlalchemy import Connection

from monitor.board.rows import Told
from monitor.board.states import RUNNING, apply_tasks
from monitor.board.tries import apply_tries, name_of
from monitor.events.data import TaskInstanceData


def apply_task_reports(connection: Connection, told: Sequence[Told[TaskInstanceData]]) -> None:
    lasting = _lasting(told)
    apply_tasks(connection, lasting)
    apply_tries(connection, lasting)


def _lasting(told: Sequence[Told[TaskInstanceData]]) -> list[Told[TaskInstanceData]]:
    """Without what an end of the same try replaces further on: whatever the board holds, an end is written
    over what was said of its own try before, so that is not written at all. Half of a busy hour's reports."""
    ended: set[tuple[object, ...]] = set()
    lasting = []
    for one in reversed(told):
        _, event, data = one
        name = (data.ti_id, *name_of(event, data))
        if name not in ended:
            lasting.append(one)
            if data.state != RUNNING:
                ended.add(name)
    lasting.reverse()
    return lasting
