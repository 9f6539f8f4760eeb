"""What is unusually long, by what was before: the median and how far values lie from it.

Two things keep this from crying wolf. A spread is at least a twentieth of the median: runs that take two
hours to the second are not stuck a minute later, and a daily asset is not stale in the night that the clocks
change. And what one in twenty did is usual: an asset that is updated on working days has long weekends.
"""

from collections.abc import Sequence
from datetime import timedelta
from statistics import median

from monitor.events.watched import Bound

HISTORY = 50  # values looked back at: two months of a daily DAG, and its new habits count within weeks
ENOUGH = 5  # below this nothing is known to be usual
NORMAL = 1.4826  # from a median absolute deviation to the deviation of what is normally distributed
LEAST_SPREAD = 0.05  # of the median
RARE = 20  # one in so many is usual


def unusual_after(lengths: Sequence[timedelta], floor: timedelta, spreads: float) -> Bound | None:
    """From how long on it is unusual; None where too little is known."""
    values = [length.total_seconds() for length in lengths[:HISTORY] if length >= timedelta(0)]
    if len(values) < ENOUGH:
        return None
    middle = median(values)
    spread = max(NORMAL * median(abs(value - middle) for value in values), LEAST_SPREAD * middle)
    rare = sorted(values, reverse=True)[len(values) // RARE] * (1 + spreads * LEAST_SPREAD)
    bound = max(floor.total_seconds(), middle + spreads * spread, rare)
    return Bound(timedelta(seconds=bound), timedelta(seconds=middle), timedelta(seconds=spread), len(values))
