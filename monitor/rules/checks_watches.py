"""What can be wrong about a watch."""

from collections.abc import Iterator, Sequence

from monitor.rules.checks_match import of_keys
from monitor.rules.found import Found
from monitor.rules.model import Watch
from monitor.rules.source import Path

_OF_DAGS = frozenset(("missing", "late", "stuck", "auto_paused"))
_OF_ASSETS = frozenset(("stale", "unconsumed"))
_FOR = {
    "asset": _OF_ASSETS,
    "dag_id": _OF_DAGS | _OF_ASSETS,
    "tags": _OF_DAGS | _OF_ASSETS,
    "deployment": _OF_DAGS | _OF_ASSETS | {"component", "unreachable"},
}
"""Which watches have a use for a field: elsewhere it would narrow nothing, in silence."""


def of_watches(watches: Sequence[Watch]) -> Iterator[Found]:
    first: dict[str, int] = {}
    for number, watch in enumerate(watches):
        path: Path = ("watches", number)
        if first.setdefault(watch.name, number) != number:
            yield Found((*path, "name"), f"is also the name of watches[{first[watch.name]}]; give it another")
        for name, kinds in _FOR.items():
            if getattr(watch, name) and watch.watch not in kinds:
                known = ", ".join(sorted(kinds))
                yield Found((*path, name), f"has no meaning for {watch.watch!r}; it is of {known}", False)
        for name in ("deployment", "dag_id"):
            yield from of_keys((*path, name), name, getattr(watch, name))
