"""What a silence asks for: who may make one, and what is wrong with one. The API, the page and the link share
it."""

from datetime import datetime, timedelta

from monitor.rules import Match
from monitor.web.gate import Gate, Reader

MAX_REASON = 500  # characters; it stands in the ledger beside each decision
MAX_AUTHOR = 100
MAX_SILENCE = timedelta(days=366)  # longer is a rule's business, and nobody remembers it
MAX_VALUES = 20  # of one field of a match: each active silence is held against each event
MAX_MATCHES = 50  # in one, however nested: the same
MAX_DEPTH = 5  # of any_of and none_of: nobody reads more, and what looks at them goes down by itself
WILD = frozenset("*?")


def only(globs: tuple[str, ...]) -> str | None:
    """The one name that these globs stand for, or None."""
    return globs[0] if len(globs) == 1 and WILD.isdisjoint(globs[0]) else None


async def may_silence(gate: Gate, reader: Reader, match: Match) -> bool:
    """Whether this reader may: of one DAG, who may read it; of more than one, who may read every DAG."""
    dag = (only(match.deployment), only(match.dag_id))
    if reader.visible is not None and dag in reader.visible:
        return True
    return await gate.reads_every_dag(reader)


def mistake_in(match: Match, starts_at: datetime, ends_at: datetime, now: datetime) -> str | None:
    """What is wrong with it, naming the field, the value and the remedy."""
    given = match.model_dump(exclude_defaults=True)
    if not given and "type" not in match.model_fields_set:
        return "match: names nothing, so it would silence everything; where you mean that, give type: *"
    if too_much := _too_much(match):
        return too_much
    if ends_at <= now:
        return f"ends_at: {ends_at:%Y-%m-%d %H:%M} UTC is over already; give a moment to come"
    if ends_at <= starts_at:
        return f"ends_at: {ends_at:%Y-%m-%d %H:%M} UTC is not after starts_at; give a later moment"
    if ends_at - max(starts_at, now) > MAX_SILENCE:
        return f"ends_at: a silence lasts at most {MAX_SILENCE.days} days; leave the event out of the rules"
    return None


def _too_much(match: Match) -> str | None:
    """What is more of it than each event can be held against, wherever in it."""
    waiting, seen = [("match", match, 1)], 0
    while waiting:
        path, one, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH:
            return f"{path}: is nested {depth} deep; at most {MAX_DEPTH}, write it flatter"
        if seen > MAX_MATCHES:
            return f"match: holds more than {MAX_MATCHES} matches; make several silences of it"
        for name in one.model_fields_set:
            values = getattr(one, name)
            if len(values) > MAX_VALUES:
                return f"{path}.{name}: {len(values)} values; at most {MAX_VALUES}"
            if name in ("any_of", "none_of"):
                waiting += [(f"{path}.{name}.{at}", inner, depth + 1) for at, inner in enumerate(values)]
    return None
