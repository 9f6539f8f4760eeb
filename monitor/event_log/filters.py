"""Filters by globs, as SQL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_

from monitor.database.schema import events
from monitor.event_log.sight import Visible, readable

FILTERS = ("deployment", "type", "dag_id", "run_id", "task_id", "state", "asset")


@dataclass(frozen=True)
class Filter:
    """Globs by attribute: one value of each given attribute must match. An empty filter takes all."""

    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, **values: Sequence[str]) -> "Filter":
        return cls(tuple((name, tuple(globs)) for name, globs in values.items() if globs))


def conditions(connection: Connection, wanted: Filter, visible: Visible) -> list[ColumnElement[bool]]:
    """The filter and the reader's rights as SQL."""
    clauses = [
        like_any(connection, events.c["asset_uri" if name == "asset" else name], globs)
        for name, globs in wanted.globs
    ]
    return [*clauses, *readable(events.c.deployment, events.c.dag_id, visible)]


def like_any(connection: Connection, column: ColumnElement[Any], globs: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of these globs, of which there is at least one, matches; over any table's column."""
    return or_(*(_like(connection, column, glob) for glob in globs))


def _like(connection: Connection, column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    """A glob with * and ? only, matched by case, in the database's own words."""
    if not set(glob) & {"*", "?"}:
        return column == glob
    if connection.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True)(glob.replace("[", "[[]"))
    # No regular expression: PostgreSQL takes minutes for one of a thousand stars, and any reader may send it.
    pattern = re.sub(r"([\\%_])", r"\\\1", glob).replace("*", "%").replace("?", "_")
    return column.like(pattern, escape="\\")
