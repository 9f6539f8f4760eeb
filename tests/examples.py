"""How Hypothesis chooses examples: the same ones each time, unless somebody asks for others.

A chance find is worth having where somebody looks for it, and costs a landing where nobody does.
`HYPOTHESIS_PROFILE=random` chooses anew; `HYPOTHESIS_TIMES=50` takes so many times as many where a test says
`times(…)`.
"""

import os

from hypothesis import HealthCheck, settings

FIXED, RANDOM = "fixed", "random"
SLOW = (HealthCheck.too_slow,)  # a machine that does other things too says nothing of a test

settings.register_profile(
    FIXED, derandomize=True, database=None, deadline=None, print_blob=True, suppress_health_check=SLOW
)
settings.register_profile(
    RANDOM, derandomize=False, deadline=None, print_blob=True, suppress_health_check=SLOW
)


def load() -> None:
    """Choose by the environment, before any test is read. Raises InvalidArgument for a name that is none."""
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", FIXED))


def times(number: int) -> int:
    """Return how many examples to try, where so many are tried each time."""
    return number * int(os.environ.get("HYPOTHESIS_TIMES", "1"))
