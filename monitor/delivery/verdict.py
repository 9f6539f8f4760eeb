"""What Airflow's words on several reports come to: who is told now, what waits, what was taken back.

A single report is asked about for long, because the scheduler may have died between its hook and its commit;
then the same occurrence ends later, is reported under the same id, and that report is a duplicate: this
delivery is the one that will tell of it. Of several, one that stays open does not hold up the others for
longer than the grace: it is told with them, marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.delivery.confirm import Answer, Word
from monitor.delivery.retry import look_again
from monitor.outbox import Outcome, State

SETTLE_FOR = timedelta(days=1)  # longer than any restart of Airflow; then a report was of nothing
SHOWN = 3  # reasons that are told, of many


@dataclass(frozen=True)
class Confirmed:
    """What may be told, by its place among the reports that were asked about."""

    standing: tuple[int, ...]
    unconfirmed: str | None = None
    """Why it must be marked as unconfirmed."""


def verdict(
    answers: Sequence[Answer], since: datetime, now: datetime, grace: timedelta
) -> Confirmed | Outcome:
    """`since`: when it was to be told. `grace`: how long it waits for an Airflow that cannot be asked."""
    age = now - since
    so, not_yet, silent = (_places(answers, word) for word in (Word.SO, Word.NOT_YET, Word.NO_ANSWER))
    if silent and age < grace:
        return _wait(f"waiting for Airflow to confirm: {_why(answers, silent)}", since, now, since + grace)
    if not_yet and (age < grace or not so + silent) and age < SETTLE_FOR:
        return _wait(f"{_why(answers, not_yet)}: asking again", since, now)
    if not so + silent:
        said = _why(answers, not_yet) if not_yet else _why(answers, range(len(answers)))
        late = "a day after the report: " if not_yet else ""
        return Outcome(State.SUPERSEDED, f"superseded: {late}{said}")
    standing = tuple(sorted(so + silent + not_yet))
    return Confirmed(standing, _why(answers, silent + not_yet) or None)


def _places(answers: Sequence[Answer], word: Word) -> list[int]:
    return [place for place, answer in enumerate(answers) if answer.word is word]


def _why(answers: Sequence[Answer], places: Sequence[int]) -> str:
    reasons = list(dict.fromkeys(answers[place].why for place in places))
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def _wait(reason: str, since: datetime, now: datetime, until: datetime | None = None) -> Outcome:
    again = look_again(since, now)
    return Outcome(State.PENDING, reason, min(again, until) if until else again)
