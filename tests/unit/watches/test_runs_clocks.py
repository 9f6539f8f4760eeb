"""The nights in which clocks change: schedules as Airflow's own timetables have them, none taken for missing
that is not, and each that is told at its moment.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.events.identity import stamp
from monitor.rules.model import Watch
from monitor.watches.findings import Finding, Key, OpenFinding
from monitor.watches.observation import Observation
from monitor.watches.runs import MISSING_AFTER, Missing
from monitor.watches.thresholds import WatchSelector, unusual_after
from tests.airflow_environment import ENVIRONMENT

pytestmark = pytest.mark.slow

NIGHTS = {
    ("Europe/Zurich", "spring"): datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Zurich")),
    ("Europe/Zurich", "autumn"): datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Zurich")),
    ("America/New_York", "spring"): datetime(2026, 3, 8, tzinfo=ZoneInfo("America/New_York")),
    ("America/New_York", "autumn"): datetime(2026, 11, 1, tzinfo=ZoneInfo("America/New_York")),
}
CRONS = ("30 2 * * *", "30 1 * * *", "0 0 * * *", "0 * * * *", "*/30 * * * *", "0 6 * * 1-5")
KINDS = ("trigger", "interval")
DAYS = 4
MINUTE = timedelta(minutes=1)
CREATED = timedelta(seconds=20)  # after its moment, by a scheduler that has something to do
CHOICE = WatchSelector([Watch(name="missing", watch="missing")], "missing", "local")


@pytest.fixture(scope="module")
def schedules() -> dict[tuple[str, str, str, str], list[datetime]]:
    """The moments of each schedule around each night, by (zone, season, cron, kind)."""
    wanted = [(*name, cron) for name in NIGHTS for cron in CRONS]
    asked = [[cron, zone, _day_before(zone, season).isoformat(), DAYS] for zone, season, cron in wanted]
    script = Path(__file__).parents[1] / "watched" / "schedule_moments.py"
    command = [str(ENVIRONMENT / "bin" / "python"), str(script), json.dumps(asked)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    told: list[dict[str, list[str]]] = json.loads(answer.stdout.splitlines()[-1])
    return {
        (*name, kind): [datetime.fromisoformat(one) for one in each[kind]]
        for name, each in zip(wanted, told, strict=True)
        for kind in KINDS
    }


def _day_before(zone: str, season: str) -> datetime:
    return (NIGHTS[zone, season] - timedelta(days=1)).astimezone(timezone.utc)


def walk(moments: Sequence[datetime], absent: Sequence[datetime]) -> Iterator[tuple[datetime, list[Finding]]]:
    """What is found minute by minute where every run comes but these; the DAG does not catch up."""
    watch = Missing()
    open_: dict[Key, OpenFinding] = {}
    begin = moments[0] - timedelta(hours=1)
    sight = Observation("local", begin, begin, begin, begin, open=open_)
    begun: dict[tuple[str, str], datetime] = {}
    for minute in range(round((moments[-1] - begin) / MINUTE) - 1):
        now = begin + minute * MINUTE
        done = [one for one in moments if one + CREATED <= now and one not in absent]
        if done:
            begun["etl", "scheduled"] = done[-1] + CREATED
        late = [one for one in moments if one <= now and (not done or one > done[-1])]
        listed = late[-1] if late else next(one for one in moments if one > now)
        dag: dict[str, Any] = {"is_paused": False, "is_stale": False, "tags": [], "schedule": "cron"}
        dag |= {"next_run_after": listed, "seen_at": None}
        found = watch.findings(replace(sight, now=now, upto=now, dags={"etl": dag}, run_starts=begun), CHOICE)
        new = [one for one in found if open_.get(one.key) is None or open_[one.key].found != one.found]
        open_.clear()
        open_.update(kept(found, now))
        yield now, new


def kept(found: Sequence[Finding], now: datetime) -> dict[Key, OpenFinding]:
    return {one.key: OpenFinding(one.type, one.subject, one.found, now) for one in found}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cron", CRONS)
@pytest.mark.parametrize(("zone", "season"), NIGHTS)
def test_no_run_is_missing_that_came(
    schedules: dict[tuple[str, str, str, str], list[datetime]], zone: str, season: str, cron: str, kind: str
) -> None:
    moments = schedules[zone, season, cron, kind]
    assert [found for _, found in walk(moments, []) if found] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cron", CRONS[:4])
@pytest.mark.parametrize(("zone", "season"), NIGHTS)
def test_the_run_of_that_night_is_told_where_it_does_not_come(
    schedules: dict[tuple[str, str, str, str], list[datetime]], zone: str, season: str, cron: str, kind: str
) -> None:
    moments = schedules[zone, season, cron, kind]
    changes = NIGHTS[zone, season].astimezone(timezone.utc)
    absent = next(one for one in moments[1:] if one >= changes)
    told = [(now, one.found) for now, found in walk(moments, [absent]) for one in found]
    assert [found for _, found in told] == [stamp(absent)]
    assert timedelta(0) <= told[0][0] - absent - MISSING_AFTER <= MINUTE


@pytest.mark.parametrize(("zone", "season"), NIGHTS)
def test_the_days_have_the_lengths_that_make_this_worth_a_test(
    schedules: dict[tuple[str, str, str, str], list[datetime]], zone: str, season: str
) -> None:
    midnights = schedules[zone, season, "0 0 * * *", "trigger"]
    lengths = {later - earlier for earlier, later in pairwise(midnights)}
    assert lengths == {timedelta(hours=24), timedelta(hours=23 if season == "spring" else 25)}
    nights = schedules[zone, season, "30 2 * * *", "trigger"]
    walls = {one.astimezone(ZoneInfo(zone)).strftime("%H:%M") for one in nights}
    assert ("03:30" in walls or "03:00" in walls or len(nights) < DAYS) == (season == "spring"), walls


@pytest.mark.parametrize(("zone", "season"), NIGHTS)
def test_a_daily_asset_is_not_stale_in_the_night_of_the_change(zone: str, season: str) -> None:
    midnight = NIGHTS[zone, season]
    days = [midnight.replace(tzinfo=None) + timedelta(days=number) for number in range(-40, 3)]
    moments = [day.replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc) for day in days]
    intervals = [later - earlier for earlier, later in pairwise(moments)]
    assert len(set(intervals)) == 2
    for number in range(5, len(intervals)):
        bound = unusual_after(intervals[:number][::-1], timedelta(minutes=10), 5)
        assert bound is not None
        assert intervals[number] < bound.after < timedelta(hours=32)
