"""The pages of a listing, one after the other, with each row once.

Rows change while a listing is read. Paging by cursor (Airflow 3.2 and up) continues behind the last row,
whatever happened before that row. Paging by offset would miss a row whenever an earlier row has left the
listing. Each page by offset therefore begins with the last rows of the previous page. A page that begins with
other rows is read again from further back.

A page that is longer than the monitor reads is requested in parts, down to a single row. A single row that is
too long is passed over. DAG authors decide how long `conf`, `extra` and `description` are, and Airflow's REST
API (3.3.2) leaves no field out of a listing. No cursor leads past a row that was not read, so the rest of the
listing is paged by offset.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.airflow.connection import AirflowConnection, Params, unreadable
from monitor.errors import AirflowAnswerTooLong

PAGE_SIZE = 100  # what Airflow 3.1 and up gives at most
SHORTER = 4  # times: the page after one that was too much to read
MAX_PASSED_OVER = 20  # rows of one listing, each of them MAX_ANSWER bytes that are read for nothing
MAX_PAGES = 2_000  # a listing that never ends is a broken server
MAX_IDLE = 15  # pages in a row without a new row: shared ones that are read one by one are fewer
SHARED_ROWS = 5  # of two pages by offset: so many rows may leave between them without another request
NAMES = ("id", "import_error_id", "dag_id", "dag_run_id")
"""The columns that distinguish the rows of a listing. Each listing has some of them."""

Row = dict[str, Any]
Ask = Callable[[Params], Awaitable[tuple[dict[str, Any], datetime]]]
"""A function that asks for one page by its parameters and returns what AirflowConnection.get does."""


@dataclass(frozen=True)
class ListingPage:
    """A page of a listing."""

    rows: list[Row]
    total: int
    """The total of all pages, as counted for this one. With a cursor Airflow stops counting at 50,000."""
    moment: datetime
    """The moment of the answer by Airflow's clock, in whole seconds."""
    asked_at: datetime
    """The moment of the question by the monitor's clock."""
    seconds: float
    """The duration of the answer."""
    passed_over: int = 0
    """Rows of this listing, so far, that are too much to read: that it lacks them says nothing of them."""


async def pages(
    connection: AirflowConnection,
    ask: Ask,
    what: str,
    key: str,
    params: Params,
    size: int = PAGE_SIZE,
    is_paged: bool = True,
) -> AsyncGenerator[ListingPage, None]:
    """Yield the pages of the listing under `key`, each of at most `size` rows.

    `what` is the listing's name in messages. `is_paged` says whether Airflow gives the listing in parts.
    Raises AirflowError and its subclasses."""
    place: Params = {"offset": 0}
    seen: set[tuple[str, ...]] = set()
    limit = size
    count = passed_over = idle = 0
    is_shared = False  # whether the page begins with rows of the one before
    first = 0  # no page goes back before it: there stands a row that is too much to read
    for _ in range(MAX_PAGES):
        asked_at = connection.clock()
        try:
            answer, moment = await ask({**params, "limit": limit, **place})
        except AirflowAnswerTooLong:
            if not is_paged or passed_over == MAX_PASSED_OVER:
                raise
            if limit > 1:
                limit = max(1, limit // SHORTER)
                continue
            # By cursor as many rows were read before it, in the same order.
            offset = place.get("offset", count)
            connection.passed_over.note(key, offset, connection.clock())
            params = {name: value for name, value in params.items() if name != "cursor"}
            first = offset + 1
            place, is_shared = {"offset": first}, False
            passed_over += 1
            continue
        seconds = max(0.0, (connection.clock() - asked_at).total_seconds())
        rows = rows_of(answer, key, what, connection.url)
        new_rows = [row for row in rows if _name(row) not in seen]
        if is_shared and place["offset"] > first and len(new_rows) == len(rows):
            place = {"offset": max(first, place["offset"] - limit)}  # rows before it have left
            continue
        seen.update(map(_name, new_rows))
        count += len(new_rows)
        idle = 0 if new_rows else idle + 1
        if idle > MAX_IDLE:
            raise unreadable(connection.url, what, "its pages bring the same rows again and again")
        counted = answer.get("total_entries")
        total = counted if isinstance(counted, int) else len(seen)
        yield ListingPage(new_rows, total, moment, asked_at, seconds, passed_over)
        limit = min(size, limit * SHORTER)
        shared = min(SHARED_ROWS, limit // 2)
        following = _following(params | place, answer, len(rows), total, shared)
        if following is None:
            return
        # From one row to the next nothing is shared.
        is_shared = "offset" in following and following["offset"] < place.get("offset", 0) + len(rows)
        place = following
    raise unreadable(connection.url, what, f"it has more than {MAX_PAGES} pages")


def rows_of(answer: dict[str, Any], key: str, request: str, url: str) -> list[Row]:
    """Return the rows of an answer. Raises AirflowError if the answer has none of that name."""
    rows = answer.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise unreadable(url, request, f"it has no list of objects {key!r}")
    return rows


def _following(params: Params, answer: dict[str, Any], rows: int, total: int, shared: int) -> Params | None:
    """Return the place at which the next page begins, or None after the last page."""
    if "cursor" in params and ("next_cursor" in answer or "offset" not in params):
        cursor = answer.get("next_cursor")
        return {"cursor": cursor} if cursor else None
    read = params["offset"] + rows
    if not rows or read >= total:
        return None
    return {"offset": max(params["offset"] + 1, read - shared)}


def _name(row: Row) -> tuple[str, ...]:
    return tuple(str(_identity_row(row).get(name)) for name in NAMES)


def _identity_row(row: Row) -> Row:
    """Return the object that carries the row's name. A question to a person carries its task's name."""
    task = row.get("task_instance")
    return task if isinstance(task, dict) else row
