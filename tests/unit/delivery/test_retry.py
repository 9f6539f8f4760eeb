"""When a mail is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.retry import LONGEST, SHORTEST, back_off, look_again
from tests.unit.conftest import NOW


@given(attempts=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_bounded(attempts: int, random: float) -> None:
    assert SHORTEST <= back_off(attempts, lambda: random) <= LONGEST


def test_pauses_grow_and_are_spread_from_nothing_to_their_ceiling() -> None:
    ceilings = [back_off(attempts, lambda: 1.0) for attempts in range(15)]
    assert ceilings[:4] == [timedelta(seconds=seconds) for seconds in (5, 10, 20, 40)]
    assert ceilings[-1] == LONGEST
    assert back_off(14, lambda: 0.5) == LONGEST / 2
    assert back_off(14, lambda: 0.0) == SHORTEST


@pytest.mark.parametrize(("age", "pause"), [(0, 1), (0.5, 1), (10, 10), (3600, 60)])
def test_airflow_is_asked_again_soon_at_first(age: float, pause: float) -> None:
    now = NOW + timedelta(seconds=age)
    assert look_again(NOW, now) == now + timedelta(seconds=pause)
