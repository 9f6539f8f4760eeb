"""The read model of import errors, each under the id of its first report.

A hook knows the whole path of a file. The REST API knows the bundle and the path within the bundle. Two
reports are about the same error if their traces are equal and the whole path ends with the path within the
bundle. The location that the REST API names is then kept.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select, update

from monitor.database.schema import import_errors as table
from monitor.database.statements import Row
from monitor.event_log.projections.state import LoggedData, find, save_row
from monitor.event_log.read import IDS_A_QUERY
from monitor.events.data import ImportErrorData, ImportErrorMendedData
from monitor.events.event import Event
from monitor.events.identity import trace_of_error


class BundleFile(NamedTuple):
    """A file, as REST names it."""

    bundle_name: str
    path: str

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> "BundleFile | None":
        """Return the file of a row of this table or of REST, or None if only the whole path is known."""
        bundle, path = row["bundle_name"], row.get("path") or row["filename"]
        return cls(str(bundle), str(path)) if bundle is not None else None


def is_below(filename: str, path: str) -> bool:
    """Return True if a whole path ends with a path within a bundle."""
    return filename == path or filename.endswith(f"/{path}")


def may_be(row: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Return True if two rows may be of the same file: one of them may have its whole path only."""
    place, its = BundleFile.from_row(row), BundleFile.from_row(other)
    if place is not None and its is not None:
        return place == its
    if place is None and its is None:
        return row["filename"] == other["filename"]
    filename, bundle_file = (row["filename"], its) if place is None else (other["filename"], place)
    return bundle_file is not None and is_below(str(filename), bundle_file.path)


def apply_import_errors(
    connection: Connection, logged: Sequence[LoggedData[ImportErrorData | ImportErrorMendedData]]
) -> None:
    """Apply import errors and their ends to the read model."""
    for seq, event, data in logged:
        key = {"deployment": event.deployment, "error_id": data.error_id or event.id}
        old = find(connection, table, key)
        save_row(connection, table, key, {**_import_error(data, old, key["error_id"]), "last_seq": seq}, old)


def _import_error(
    data: ImportErrorData | ImportErrorMendedData, old: RowMapping | None, error_id: str
) -> Row:
    is_open = isinstance(data, ImportErrorData)
    if old is not None:  # named as in its first report. REST says which file it is (`locate`)
        return {"open": is_open, "times": old["times"] + is_open}
    trace = trace_of_error(error_id, data.stacktrace) if isinstance(data, ImportErrorData) else None
    file: Row = {"filename": data.filename, "bundle_name": data.bundle_name, "trace": trace}
    return {**file, "open": is_open, "times": 1}


def find_import_errors(connection: Connection, deployment: str, error_ids: Collection[str]) -> dict[str, Row]:
    """Return import errors by the id of their first report.
    They are all open ones, those with these ids, and those with the same traces as these ids."""
    traces = {trace_of_error(error_id) for error_id in error_ids}
    conditions = [
        table.c.open,
        *(table.c.error_id.in_(some) for some in _some(error_ids)),
        *(table.c.trace.in_(some) for some in _some(traces)),
    ]
    found: dict[str, Row] = {}
    for which in conditions:
        query = select(table).where(table.c.deployment == deployment, which)
        found.update({row["error_id"]: dict(row) for row in connection.execute(query).mappings()})
    return found


def _some(values: Iterable[str]) -> Iterator[list[str]]:
    every = sorted(values)
    return (every[start : start + IDS_A_QUERY] for start in range(0, len(every), IDS_A_QUERY))


def locate(connection: Connection, deployment: str, places: Mapping[str, BundleFile]) -> None:
    """Store the places of the files whose errors a hook reported, by the errors' ids."""
    for error_id, place in places.items():
        its = (table.c.deployment == deployment, table.c.error_id == error_id)
        connection.execute(update(table).where(*its).values(**place._asdict()))


def places_of(connection: Connection, deployment: str, filename: str) -> set[BundleFile]:
    """Return the places of a file that a hook has named by its whole path, as far as REST has shown them."""
    query = select(table.c.bundle_name, table.c.path).where(
        table.c.deployment == deployment, table.c.filename == filename, table.c.path.is_not(None)
    )
    return {BundleFile(row.bundle_name, row.path) for row in connection.execute(query)}


def detect_duplicate_errors(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Return True for each event, in order, that first reports an import error logged under another id.
    A hook reports what REST reported before, or the other way round."""
    return [
        isinstance(event.data, ImportErrorData)
        and _is_duplicate(connection, event, event.data, events[:number])
        for number, event in enumerate(events)
    ]


def _is_duplicate(
    connection: Connection, event: Event, data: ImportErrorData, before: Sequence[Event]
) -> bool:
    if data.error_id not in (None, event.id):  # reported again, under the next number: its id identifies it
        return False
    trace = trace_of_error(event.id, data.stacktrace)
    same = (table.c.deployment == event.deployment, table.c.trace == trace, table.c.error_id != event.id)
    rows = [dict(row) for row in connection.execute(select(table).where(*same)).mappings()]
    rows += [
        vars(earlier.data)
        for earlier in before
        if isinstance(earlier.data, ImportErrorData)
        and earlier.deployment == event.deployment
        and earlier.id != event.id
        and trace_of_error(earlier.id, earlier.data.stacktrace) == trace
    ]
    return any(may_be(row, vars(data)) for row in rows)
