"""All pages of a listing, one after the other.

Rows change while they are read: paging by cursor (Airflow 3.3) goes on behind the last row whatever happened
before it; paging by offset steps over a row where an earlier one has left the listing.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.airflow_api.connection import Connection, Params
from monitor.airflow_api.failures import unreadable

PAGE_SIZE = 100  # what Airflow 3.3 gives at most
MAX_PAGES = 2_000  # a listing that never ends is a broken server


@dataclass(frozen=True)
class Page:
    rows: list[dict[str, Any]]
    total: int
    """Of all pages, as counted for this one; Airflow stops counting at 50,000."""
    moment: datetime
    """When Airflow answered, by its own clock, in whole seconds."""


async def pages(
    connection: Connection, path: str, key: str, params: Params, token: str | None = None
) -> AsyncGenerator[Page, None]:
    """The pages of the listing that stands under `key`. Raises AirflowError and what is derived from it."""
    asked = {**params, "limit": PAGE_SIZE}
    seen = 0
    for _ in range(MAX_PAGES):
        answer, moment = await connection.get(path, asked, token)
        rows = answer.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise unreadable(connection.url, f"GET {path}", f"it has no list of objects {key!r}")
        seen += len(rows)
        counted = answer.get("total_entries")
        total = counted if isinstance(counted, int) else seen
        yield Page(rows, total, moment)
        following = _following(asked, answer, seen, total)
        if not rows or following is None:
            return
        asked |= following
    raise unreadable(connection.url, f"GET {path}", f"it has more than {MAX_PAGES} pages")


def _following(asked: Params, answer: dict[str, Any], seen: int, total: int) -> Params | None:
    """What the next page is asked with, or None where this was the last."""
    if "cursor" in asked and "next_cursor" in answer:
        return {"cursor": answer["next_cursor"]} if answer["next_cursor"] else None
    return {"offset": seen} if seen < total else None
