"""The log of events: append once, read after a cursor, forget by age. Only this package names its tables."""

from monitor.event_log.entries import Line, Logged, Page
from monitor.event_log.filters import FILTERS, Filter, conditions, like_any
from monitor.event_log.forgetting import PRUNE_BATCH, begin_epoch, mark, prune, seq_by
from monitor.event_log.id_conflicts import conflicting, lacking
from monitor.event_log.logged_dags import LoggedDags
from monitor.event_log.place import Cursor, LogState, state
from monitor.event_log.reading import (
    IDS_A_QUERY,
    MAX_PAGE_CHARACTERS,
    first_times,
    known,
    last_received,
    lines_after,
    missing,
    of_id,
    of_seqs,
    read_after,
    read_before,
    read_page,
    received,
    seq_at,
)
from monitor.event_log.sight import UPDATED, Visible, began_by, may_read, readable, seen_body
from monitor.event_log.writing import append, line_of, lock, name_of

__all__ = [
    "FILTERS",
    "IDS_A_QUERY",
    "MAX_PAGE_CHARACTERS",
    "PRUNE_BATCH",
    "UPDATED",
    "Cursor",
    "Filter",
    "Line",
    "LogState",
    "Logged",
    "LoggedDags",
    "Page",
    "Visible",
    "append",
    "began_by",
    "begin_epoch",
    "conditions",
    "conflicting",
    "first_times",
    "known",
    "lacking",
    "last_received",
    "like_any",
    "line_of",
    "lines_after",
    "lock",
    "mark",
    "may_read",
    "missing",
    "name_of",
    "of_id",
    "of_seqs",
    "prune",
    "read_after",
    "read_before",
    "read_page",
    "readable",
    "received",
    "seen_body",
    "seq_at",
    "seq_by",
    "state",
]
