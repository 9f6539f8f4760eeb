"""What a match can have wrong: globs that no name can meet, lists that were meant to hold something."""

import re
from collections.abc import Iterable, Iterator

from monitor.events.data import DATA, NUDGE
from monitor.rules.found import Found
from monitor.rules.globs import matches
from monitor.rules.model import Match
from monitor.rules.source import Path
from monitor.rules.wording import meant

TYPES = tuple(name for name in DATA if name != NUDGE)
"""Every type that rules are asked about."""

_KEY_FIELDS = ("type", "deployment", "dag_id", "task_id", "run_type")
_KEY = re.compile(r"[\w.*?-]+")  # Airflow's names of DAGs and tasks, and a glob's signs


def of_match(path: Path, match: Match) -> Iterator[Found]:
    yield from _empty(path, match)
    for name in _KEY_FIELDS:
        yield from of_keys((*path, name), name, getattr(match, name))
    for number, glob in enumerate(match.type):
        if _KEY.fullmatch(glob) and not any(matches(glob, known) for known in TYPES):
            yield Found((*path, "type", number), f"is no event's type (docs/events.md){meant(glob, TYPES)}")
    for name in ("any_of", "none_of"):
        for number, inner in enumerate(getattr(match, name)):
            yield from of_match((*path, name, number), inner)
            if inner == Match():
                yield Found(
                    (*path, name, number), "takes every event; give it a field, or leave it out", False
                )


def of_keys(path: Path, name: str, globs: Iterable[str]) -> Iterator[Found]:
    """Globs of names that Airflow lets hold few signs: what looks like a regular expression never matches."""
    for number, glob in enumerate(globs):
        if not _KEY.fullmatch(glob):
            wrong = next(sign for sign in glob if not _KEY.fullmatch(sign))
            yield Found(
                (*path, number),
                f"holds {wrong!r}, which no {name} does; globs know * and ? (no regular expressions)",
            )


def _empty(path: Path, match: Match) -> Iterator[Found]:
    for name in sorted(match.model_fields_set):
        if getattr(match, name) == ():
            yield Found((*path, name), "is an empty list, which would take every event; leave it out", False)
