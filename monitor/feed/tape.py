"""The newest events, kept in memory so that a reader that is close behind needs no database."""

from bisect import bisect_right
from collections import deque

from monitor.event_log import Cursor, Line
from monitor.feed.block import Block

KEPT_BYTES = 8 * 1024 * 1024  # of bodies: a burst of 10,000 events; in memory they take three times as much
BLOCK_BYTES = 128 * 1024  # of bodies in one block, so in one write: all that a slow reader costs in memory


class Tape:
    """Blocks without a gap between them, up to `end`. Older ones fall off; readers then use the log."""

    def __init__(self, end: Cursor) -> None:
        self.end = end
        self._blocks: deque[Block] = deque()
        self._size = 0

    def extend(self, lines: list[Line]) -> list[Block]:
        """Take what follows the end; answers it as blocks."""
        new = [Block(self.end.epoch, after, part) for after, part in self._parts(lines)]
        for block in new:
            self._blocks.append(block)
            self._size += block.size
            self.end = Cursor(self.end.epoch, block.upto)
        while self._size > KEPT_BYTES and len(self._blocks) > 1:
            self._size -= self._blocks.popleft().size
        return new

    def following(self, place: Cursor) -> Block | None:
        """The block that holds what comes behind a place, or None where the tape does not reach there."""
        if place.epoch != self.end.epoch or not self._blocks:
            return None
        if not self._blocks[0].after <= place.seq < self.end.seq:
            return None
        return self._blocks[bisect_right(self._blocks, place.seq, key=lambda block: block.after) - 1]

    def _parts(self, lines: list[Line]) -> list[tuple[int, list[Line]]]:
        parts: list[tuple[int, list[Line]]] = []
        size, after = BLOCK_BYTES, self.end.seq
        for line in lines:
            if size >= BLOCK_BYTES:
                parts.append((after, []))
                size = 0
            parts[-1][1].append(line)
            size += len(line.body)
            after = line.seq
        return parts
