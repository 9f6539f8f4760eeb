"""The read model of import errors, each under the id of its first report.

A hook knows the whole path of a file. The REST API knows the bundle and the path within the bundle. Two
reports are about the same error if their traces are equal and the whole path ends with the path within the
bundle. The location that the REST API names is then kept.

Paths are looked up from their ends, because a whole path and a path within a bundle have the end in common.
So `file_end` and `path_end` hold the last END characters of a path, backwards, and an index finds what ends
with a path. No report costs more because the table holds more errors, whatever files and traces a sender
names.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, true, update

from monitor.database.schema import import_errors as table
from monitor.database.statements import BulkInsert, KeyLookup, Row, Statement, replacing
from monitor.event_log.projections.state import LoggedData
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


END = 200
"""Characters of a path in an index, from its end: PostgreSQL bounds the length of an index's key."""
MAX_ALIKE = 50
"""Errors whose paths end alike that are compared. In doubt two reports are of two files."""

_OF_IDS = KeyLookup(table, ("deployment", "error_id"))
_PUT = BulkInsert(table, replacing(table, lambda _new: true()))


def _end(path: str) -> str:
    return path[: -END - 1 : -1]


def _ends_above(filename: str) -> list[str]:
    """Return the ends of all paths within a bundle that the file of a whole path may have."""
    backwards = filename[::-1]
    places = (place for place, sign in enumerate(backwards[: END + 1]) if sign == "/")
    return sorted({backwards[:END], *(backwards[:place] for place in places if place)})


def _ends_below(path: str) -> tuple[str, str]:
    """Return the range of the ends of all whole paths that a path within a bundle may have."""
    end = _end(path)
    return (end, f"{end} ") if len(end) == END else (f"{end}/", f"{end}0")  # 0 comes behind the slash


def apply_import_errors(
    connection: Connection, logged: Sequence[LoggedData[ImportErrorData | ImportErrorMendedData]]
) -> None:
    """Apply import errors and their ends to the read model."""
    keys = [(event.deployment, data.error_id or event.id) for _, event, data in logged]
    rows = {(row["deployment"], row["error_id"]): row for row in _OF_IDS.rows(connection, set(keys))}
    for key, (seq, _, data) in zip(keys, logged, strict=True):
        rows[key] = {**_import_error(data, rows.get(key), *key), "last_seq": seq}
    _PUT.rows(connection, list(rows.values()))


def _import_error(
    data: ImportErrorData | ImportErrorMendedData, old: Row | None, deployment: str, error_id: str
) -> Row:
    is_open = isinstance(data, ImportErrorData)
    if old is not None:  # named as in its first report. REST says which file it is (`locate`)
        return {**old, "open": is_open, "times": old["times"] + is_open}
    return {
        "deployment": deployment,
        "error_id": error_id,
        "filename": data.filename,
        "bundle_name": data.bundle_name,
        "path": None,
        "trace": trace_of_error(error_id, data.stacktrace) if isinstance(data, ImportErrorData) else None,
        "file_end": _end(data.filename) if data.bundle_name is None else None,
        "path_end": _end(data.filename) if data.bundle_name is not None else None,
        "open": is_open,
        "times": 1,
    }


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
        where = {**place._asdict(), "path_end": _end(place.path)}
        connection.execute(update(table).where(*its).values(where))


_NAMES = ("error_id", "filename", "bundle_name", "path")


def _select(*where: Any) -> Statement:
    query = select(*(table.c[name] for name in _NAMES)).where(
        table.c.deployment == bindparam("deployment"), *where
    )
    return Statement(lambda _insert: query.limit(MAX_ALIKE))


def _below(*where: Any) -> Statement:
    """Select the errors whose whole path, which a hook named, ends with a path within a bundle."""
    return _select(
        table.c.file_end >= bindparam("first"),
        table.c.file_end < bindparam("behind"),
        table.c.path_end.is_(None),
        *where,
    )


_OF_FILE = (table.c.file_end == bindparam("end"), table.c.filename == bindparam("filename"))
_LOCATED = _select(*_OF_FILE, table.c.path.is_not(None))
_OPEN_BELOW = _below(table.c.open)


def places_of(connection: Connection, deployment: str, filename: str) -> set[BundleFile]:
    """Return the places of a file that a hook has named by its whole path, as far as REST has shown them."""
    rows = _LOCATED.rows(connection, deployment=deployment, end=_end(filename), filename=filename)
    return {BundleFile(row["bundle_name"], row["path"]) for row in rows}


def find_whole_paths(connection: Connection, deployment: str, path: str) -> set[str]:
    """Return the whole paths of open errors that end with this path and that only hooks named.

    Return none if there are too many to decide between them."""
    first, behind = _ends_below(path)
    rows = _OPEN_BELOW.rows(connection, deployment=deployment, first=first, behind=behind)
    return {row["filename"] for row in rows if len(rows) < MAX_ALIKE and is_below(row["filename"], path)}


_SAME_TRACE = (table.c.trace == bindparam("trace"), table.c.error_id != bindparam("error_id"))
_SAME_FILE = _select(*_SAME_TRACE, *_OF_FILE, table.c.path_end.is_(None))
_SAME_PLACE = _select(
    *_SAME_TRACE, table.c.path_end == bindparam("end"), table.c.bundle_name == bindparam("bundle_name")
)
_SAME_BELOW = _below(*_SAME_TRACE)
_ABOVE = KeyLookup(table, ("deployment", "trace", "path_end"), columns=_NAMES, limit=MAX_ALIKE)


def detect_duplicate_errors(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Return True for each event, in order, that first reports an import error logged under another id.
    A hook reports what REST reported before, or the other way round."""
    before = _EarlierReports()
    return [
        isinstance(event.data, ImportErrorData) and _is_duplicate(connection, event, event.data, before)
        for event in events
    ]


class _EarlierReports:
    """The first reports of import errors that come earlier in the same batch, by the ends of their paths."""

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
        """The errors that hooks reported, by deployment and trace, in the order of their ends: end, file and
        id."""
        self._within: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        """The errors whose path within a bundle REST has named, by deployment, trace and end."""

    def add(self, deployment: str, trace: str, row: Row) -> None:
        if row["bundle_name"] is None:
            insort(self._whole[deployment, trace], (_end(row["filename"]), row["filename"], row["error_id"]))
        else:
            self._within[deployment, trace, _end(row["filename"])].append(row)

    def find_alike(self, deployment: str, trace: str, row: Row) -> Iterator[Row]:
        """Return the reports that may be of the same file."""
        end = _end(row["filename"])
        if row["bundle_name"] is None:
            ends, ranges = _ends_above(row["filename"]), [(end, f"{end} ")]
        else:
            ends, ranges = [end], [(end, f"{end} "), _ends_below(row["filename"])]
        for its_end in ends:
            yield from self._within.get((deployment, trace, its_end), [])[:MAX_ALIKE]
        whole = self._whole.get((deployment, trace), [])
        for first, behind in ranges:
            start = bisect_left(whole, (first,))
            for _, filename, error_id in whole[start : min(start + MAX_ALIKE, bisect_left(whole, (behind,)))]:
                yield {"error_id": error_id, "filename": filename, "bundle_name": None}


def _is_duplicate(
    connection: Connection, event: Event, data: ImportErrorData, earlier: _EarlierReports
) -> bool:
    if data.error_id not in (None, event.id):  # reported again, under the next number: its id identifies it
        return False
    trace = trace_of_error(event.id, data.stacktrace)
    row = {"error_id": event.id, "filename": data.filename, "bundle_name": data.bundle_name}
    alike = (
        *_find_alike(connection, event.deployment, trace, row),
        *earlier.find_alike(event.deployment, trace, row),
    )
    earlier.add(event.deployment, trace, row)
    return any(other["error_id"] != event.id and may_be(other, row) for other in alike)


def _find_alike(connection: Connection, deployment: str, trace: str, row: Row) -> list[Row]:
    """Return errors of the same trace whose paths end like the row's path."""
    filename, bundle_name, end = row["filename"], row["bundle_name"], _end(row["filename"])
    same = {"deployment": deployment, "trace": trace, "error_id": row["error_id"]}
    found = _SAME_FILE.rows(connection, **same, end=end, filename=filename)
    if bundle_name is None:
        above = [(deployment, trace, its_end) for its_end in _ends_above(filename)]
        return found + _ABOVE.rows(connection, above)
    first, behind = _ends_below(filename)
    found += _SAME_PLACE.rows(connection, **same, end=end, bundle_name=bundle_name)
    return found + _SAME_BELOW.rows(connection, **same, first=first, behind=behind)
