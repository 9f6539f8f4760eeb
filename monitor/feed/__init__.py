"""The live feed: replay and live are one walk over the log, so that nothing falls between the two.

A reader is only a place in the log. What is new is read from the database once for all readers (tape.py),
encoded once for those who want the same (block.py), and offered to each without a task of its own being
woken (offer.py). A reader that cannot take it at once, or that is further back than the tape reaches, is
brought up to the others by a task of its own, from the log: the server keeps one write for it and no queue.
"""

from monitor.feed.feeds import FeedFull, Feeds, ShareFull
from monitor.feed.forms import Form
from monitor.feed.reader import FeedEnded, Reader, Rights
from monitor.feed.selection import Selection
from monitor.feed.starts import Start, after, from_now, since

__all__ = [
    "FeedEnded",
    "FeedFull",
    "Feeds",
    "Form",
    "Reader",
    "Rights",
    "Selection",
    "ShareFull",
    "Start",
    "after",
    "from_now",
    "since",
]
