"""The back-off that all processes of a host share."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from airflow_windsock.backoff import FIRST_WAIT, LONGEST_ASKED, LONGEST_WAIT, Backoff


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backoff"


def test_a_failure_holds_back_every_process_until_a_success(path: Path) -> None:
    assert Backoff(path).wait() == 0.0
    wait = Backoff(path).record_failure()
    assert FIRST_WAIT <= wait <= LONGEST_WAIT
    assert 0.0 < Backoff(path).wait() <= wait
    Backoff(path).record_success()
    assert Backoff(path).wait() == 0.0
    Backoff(path).record_success()


def test_it_grows_and_is_capped_with_jitter(path: Path) -> None:
    waits = [Backoff(path).record_failure() for _ in range(200)]
    assert waits[0] <= 2 * FIRST_WAIT
    assert max(waits) <= LONGEST_WAIT
    assert max(waits) > LONGEST_WAIT / 2
    assert len(set(waits)) > 150


def test_the_monitor_s_own_wish_counts_within_the_cap(path: Path) -> None:
    assert Backoff(path).record_failure(at_least=12.0) >= 12.0
    assert Backoff(path).record_failure(at_least=86_400.0) == LONGEST_ASKED


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"failures": "x", "until": 1}', "\xff"])
def test_a_broken_file_is_as_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert Backoff(path).wait() == 0.0
    assert Backoff(path).record_failure() <= 2 * FIRST_WAIT


def test_a_clock_that_was_set_back_does_not_silence_us_for_long(path: Path) -> None:
    path.write_text(json.dumps({"failures": 1, "until": time.time() + 86_400}))
    assert Backoff(path).wait() == LONGEST_ASKED
