"""The builders of what watches find, against the golden files."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from monitor.events import from_watches
from monitor.events.data import DATA, OWN
from monitor.events.event import Event
from monitor.events.from_watches import Bound, Cause, WatchContext, WatchedAsset, WatchedRun
from monitor.events.identity import spoken
from tests.sample import moment

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=timezone.utc)
BUILDERS: dict[str, Callable[..., Event]] = {
    builder.__name__: builder
    for builder in (
        *(from_watches.missing, from_watches.late, from_watches.stuck),
        *(from_watches.stale, from_watches.asset_unconsumed, from_watches.asset_recovered),
        *(from_watches.auto_paused, from_watches.dag_recovered),
        *(from_watches.unreachable, from_watches.reachable_again),
        *(from_watches.component_unhealthy, from_watches.component_recovered),
        *(from_watches.mail_failing, from_watches.mail_works_again, from_watches.delivery_trouble),
    )
}
GOLDEN = {
    path.stem: golden
    for path in sorted((Path(__file__).parents[2] / "contract").glob("*.json"))
    if (golden := json.loads(path.read_text())).get("finding")
}


def build(finding: dict[str, Any]) -> Event:
    """As the watch of this finding would."""
    values = {name: _value(name, value) for name, value in finding.items() if name != "builder"}
    watch = None if finding["builder"] in ("delivery_trouble",) else "nightly"
    return BUILDERS[finding["builder"]](WatchContext("local", NOW, watch), **values)


def _value(name: str, value: Any) -> Any:
    if name == "run":
        return WatchedRun(**value)
    if name == "asset":
        return WatchedAsset(**value)
    if name == "cause":
        return Cause(**value)
    if name == "bound":
        usual, spread = (
            None if value.get(key) is None else timedelta(seconds=value[key]) for key in ("usual", "spread")
        )
        return Bound(timedelta(seconds=value["after"]), usual, spread, count=value.get("count"))
    if name == "after":
        return timedelta(seconds=value)
    if name.endswith(("_at", "since", "_date")) and value:
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value


def test_there_is_a_golden_finding_of_each_type_and_builder() -> None:
    own = {name for name in DATA if name.startswith(OWN) and name != "windsock.asset.nudge"}
    assert {golden["event"]["type"] for golden in GOLDEN.values()} == own
    assert {golden["finding"]["builder"] for golden in GOLDEN.values()} == set(BUILDERS)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_finding_becomes_the_golden_event(name: str) -> None:
    assert json.loads(build(GOLDEN[name]["finding"]).body) == GOLDEN[name]["event"]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_id_does_not_depend_on_when_or_by_which_watch_it_is_found(name: str) -> None:
    finding = dict(GOLDEN[name]["finding"])
    values = {key: _value(key, value) for key, value in finding.items() if key != "builder"}
    later = BUILDERS[finding["builder"]](WatchContext("local", NOW + timedelta(hours=5), "other"), **values)
    assert later.id == GOLDEN[name]["event"]["id"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h")),
        *((3661, "1 h 1 min"), (5400, "1 h 30 min"), (86_400 + 59, "1 d"), (200_000, "2 d 7 h"), (-5, "0 s")),
    ],
)
def test_a_length_is_spoken_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == text


def test_moments_in_sentences_are_utc_whatever_the_zone_of_the_value() -> None:
    told = WatchContext("local", NOW, None)
    east = datetime(2026, 11, 22, 10, 0, tzinfo=timezone.utc).astimezone(timezone(timedelta(hours=9)))
    event = from_watches.missing(told, "etl", east, timedelta(minutes=15), None)
    assert "for 2026-11-22 10:00 UTC" in event.get("what")
    assert json.loads(event.body)["data"]["expected_at"] == moment()
