"""The accounts side by side: what was sent, the log, each feed, the board, the monitors' own counts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.scale.tails import Tail

SHOWN = 5  # of many that are wrong in the same way


@dataclass(frozen=True)
class Books:
    """What was read when all was done."""

    sent: set[str]
    """The ids of all events, however often each was sent."""
    log: Sequence[tuple[int, str]]
    """Seq and id, in the order of seq."""
    received: Sequence[datetime]
    """When each was received, in the same order."""
    last_seq: int
    """As the log's state has it."""
    accepted: int | None
    """Events that the monitors counted as new, the slow writer's besides; None where one of them died, and
    its counts with it."""
    runs: Mapping[tuple[str, str], str]
    """The state in which each run ended."""
    board: Mapping[tuple[str, str], str]
    """The state in which the board shows each."""
    tasks: Counter[str]
    """How many tasks the board shows in each state."""
    tasks_sent: Counter[str]


@dataclass(frozen=True)
class Outcome:
    """What a proof came to."""

    wrong: list[str]
    summary: str


def wrong(books: Books, tails: Iterable[Tail]) -> list[str]:
    """Everything that must not be, in words."""
    return [
        *_log(books),
        *_board(books),
        *(f"{tail.name}: {what}" for tail in tails for what in _tail(books, tail)),
    ]


def _log(books: Books) -> Iterator[str]:
    ids = [event_id for _, event_id in books.log]
    yield from _some("events lost", books.sent - set(ids))
    yield from _some("events in the log that nobody sent", set(ids) - books.sent)
    yield from _some("events twice in the log", _twice(ids))
    if [seq for seq, _ in books.log] != list(range(1, len(ids) + 1)):
        yield f"the log's seqs are not 1 to {len(ids)} without a gap"
    if list(books.received) != sorted(books.received):
        yield "events were received in another order than they were logged: `since` steps over some"
    if books.last_seq != len(ids):
        yield f"the log's state says {books.last_seq}, it holds {len(ids)}"
    if books.accepted is not None and books.accepted != len(ids):
        yield f"the monitors counted {books.accepted} new events, the log holds {len(ids)}"


def _board(books: Books) -> Iterator[str]:
    yield from _some(
        "runs that the board shows otherwise", set(books.runs.items()) ^ set(books.board.items())
    )
    if books.tasks != books.tasks_sent:
        yield f"the board's tasks are {dict(books.tasks)}, not {dict(books.tasks_sent)}"


def _tail(books: Books, tail: Tail) -> Iterator[str]:
    if tail.problem:
        yield f"it could not go on: {tail.problem!r}"
    yield from _some("reset", tail.resets)
    seqs = [seq for seq, _ in books.log]
    yield from _some("stepped over", set(seqs) - set(tail.seqs))
    yield from _some("told of what the log does not hold", set(tail.seqs) - set(seqs))
    yield from _some("told twice", _twice(tail.seqs))
    if tail.seqs != sorted(tail.seqs):
        yield "not told in order"
    if dict(zip(tail.seqs, tail.ids, strict=True)).items() - dict(books.log).items():
        yield "told other events under these seqs than the log holds"


def _twice(values: Iterable[object]) -> list[object]:
    return [value for value, number in Counter(values).items() if number > 1]


def _some(what: str, found: Iterable[object]) -> Iterator[str]:
    some = sorted(found, key=str)
    if some:
        yield f"{what}: {len(some)}, such as {some[:SHOWN]}"
