"""The feed in a terminal, and for `windsock up`: it comes back by itself where it was cut off."""

from monitor.tail.follow import Outages, follow, places
from monitor.tail.line import render
from monitor.tail.messages import RESET, Message, TailRefused, parse
from monitor.tail.show import OutputGone, Wanted, show

__all__ = [
    "RESET",
    "Message",
    "Outages",
    "OutputGone",
    "TailRefused",
    "Wanted",
    "follow",
    "parse",
    "places",
    "render",
    "show",
]
