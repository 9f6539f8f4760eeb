"""Events that were read together, encoded once for all readers that want the same of them."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from monitor.event_log import Cursor, Line, Visible, seen_body
from monitor.feed.forms import Form
from monitor.feed.selection import Selection

MEMO = 32  # selections whose bytes a block keeps; readers beyond that have theirs put together each

Message = dict[str, Any]
"""An ASGI `http.response.body`. One object for many readers: servers only read it."""


def body(chunk: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


class Block:
    """What the log holds behind `after`, up to and including `upto`."""

    def __init__(self, epoch: str, after: int, lines: Sequence[Line]) -> None:
        self.epoch = epoch
        self.after = after
        self.upto = lines[-1].seq
        self._lines = lines
        self._memo: dict[tuple[Selection, Form], Message | None] = {}
        self._frames: dict[tuple[int, Form], bytes] = {}

    @cached_property
    def size(self) -> int:
        """Bytes, roughly."""
        return sum(len(line.body) for line in self._lines)

    @cached_property
    def by_dag(self) -> dict[str | None, list[Line]]:
        found: dict[str | None, list[Line]] = {}
        for line in self._lines:
            found.setdefault(line.dag_id, []).append(line)
        return found

    def following(self, seq: int, selection: Selection, form: Form) -> Message | None:
        """What is in this block for a reader that has all up to `seq`, or None where nothing is."""
        if seq <= self.after:
            return self._whole(selection, form)
        rest = [line for line in self._selected(selection) if line.seq > seq]
        return self._encode(rest, selection.visible, form)

    def _whole(self, selection: Selection, form: Form) -> Message | None:
        key = (selection, form)
        if key in self._memo:
            return self._memo[key]
        message = self._encode(self._selected(selection), selection.visible, form)
        if len(self._memo) < MEMO:
            self._memo[key] = message
        return message

    def _selected(self, selection: Selection) -> Sequence[Line]:
        if selection.everything:
            return self._lines
        return [line for line in self._near(selection.dags) if selection.takes(line)]

    def _near(self, dags: frozenset[str] | None) -> Iterable[Line]:
        if dags is None:
            return self._lines
        near = [line for dag in dags & self.by_dag.keys() for line in self.by_dag[dag]]
        return sorted(near) if len(dags) > 1 else near

    def _encode(self, lines: Sequence[Line], visible: Visible, form: Form) -> Message | None:
        return body(b"".join(self._frame(line, visible, form) for line in lines)) if lines else None

    def _frame(self, line: Line, visible: Visible, form: Form) -> bytes:
        seen = seen_body(line.type, line.body, visible)
        if seen is not line.body:  # this reader's own
            return form.event(str(Cursor(self.epoch, line.seq)), line.type, seen)
        key = (line.seq, form)
        if key not in self._frames:
            self._frames[key] = form.event(str(Cursor(self.epoch, line.seq)), line.type, line.body)
        return self._frames[key]
