"""The readers that wait for news, found by the DAGs that can concern them."""

from collections.abc import Iterable

from monitor.feed.block import Block
from monitor.feed.reader import Reader


class Register:
    """Who is live. A thousand readers of a DAG each cost nothing while another DAG runs."""

    def __init__(self) -> None:
        self._of_any: dict[Reader, None] = {}
        self._by_dag: dict[str, dict[Reader, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of_any or self._by_dag)

    def add(self, reader: Reader) -> None:
        reader.live = True
        for place in self._places(reader):
            place[reader] = None

    def discard(self, reader: Reader) -> None:
        reader.live = False
        for place in self._places(reader):
            place.pop(reader, None)
        for dag in reader.selection.dags or ():
            if not self._by_dag[dag]:
                del self._by_dag[dag]

    def concerned(self, block: Block) -> list[Reader]:
        """Those whom something in the block may concern, each once, in the order in which they came."""
        found = dict(self._of_any)
        for dag in self._by_dag.keys() & block.by_dag.keys() if self._by_dag else ():
            found.update(self._by_dag[dag])
        return list(found)

    def all(self) -> list[Reader]:
        return list(dict.fromkeys([*self._of_any, *(one for dag in self._by_dag.values() for one in dag)]))

    def _places(self, reader: Reader) -> Iterable[dict[Reader, None]]:
        dags = reader.selection.dags
        return (self._of_any,) if dags is None else [self._by_dag.setdefault(dag, {}) for dag in dags]
