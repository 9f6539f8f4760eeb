"""The facts that stand in several places, each place held to all of them.

CONTRIBUTING.md has a checklist for a new channel, watch, rule option and event type. A forgotten step that no
other test notices fails one of these tests. The checklists and the tree name what is there.
"""

import json
import re
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from monitor.app import build_channels
from monitor.clock import utc_now
from monitor.delivery.messages.filters import BAD, GOOD, mark_of
from monitor.events.data import DATA
from monitor.events.event import parse_event
from monitor.notifications.incident_signals import Meaning, signal_of
from monitor.observability.metrics import CHANNELS
from monitor.rules.model import Config, Receiver, Rule, Watch
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName, targets_of
from monitor.settings import Settings
from monitor.watches.registry import build_watch_kinds
from monitor.web import rule_descriptions

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
GOLDEN = sorted((REPOSITORY / "tests" / "contract").glob("*.json"))
OWN_LOOK = {"component", "unreachable", "mail"}
"""Watches that monitor/watches/loop.py looks at itself: they are about no run and no asset."""
WAYS: dict[str, Any] = {
    "email": "ml@example.com",
    "apprise": "json://pager.example.com",
    "webhook": [{"url": "https://tickets.example.com/windsock", "secret": "whsec_" + "A" * 32}],
}
"""A value of a receiver's field for each channel."""
OPTIONS: dict[str, Any] = {
    "match": {"dag_id": "etl"},
    "notify_on": "notice",
    "to": "ops@example.com",
    "route": False,
    "group": {"wait": "30s"},
    "repeat": "4h",
    "quiet_hours": "night",
    "flapping": None,
    "template": {"failure": "task_failed"},
    "last": True,
}
"""A value of each option of a rule that is not its default."""


def first_column(page: str, heading: str) -> set[str]:
    """The names in the first column of the tables below a heading."""
    _, found, below = (DOCS / page).read_text().partition(f"{heading}\n")
    assert found, f"{page} has no {heading!r}"
    rows = re.findall(r"^\| (`.+?) \|", re.split(r"^##", below, flags=re.MULTILINE)[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("channel", ChannelName)
def test_a_receivers_field_of_each_channel_leads_to_it(channel: ChannelName) -> None:
    receiver = Receiver.model_validate({channel.value: WAYS[channel.value]})

    [target] = targets_of("team", {"team": receiver})

    assert target.channel is channel
    assert Rules(Config(receivers={"team": receiver})).resolve(target) is not None
    assert "nobody" not in str(rule_descriptions.receiver("team", receiver))
    assert f"`{channel.value}`" in (DOCS / "rules.md").read_text()


def test_each_channel_sends_and_is_measured(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path, auth="none", smtp_host="mail.example.com")
    assert set(build_channels(settings, None, utc_now)) == set(ChannelName)
    assert set(CHANNELS) == {channel.value for channel in ChannelName}


def test_each_watch_is_looked_for_described_and_documented() -> None:
    watches = set(get_args(Watch.model_fields["watch"].annotation))
    nothing = cast("Any", None)  # nothing is asked before the first look
    assert {kind.name for kind in build_watch_kinds(nothing, nothing, nothing)} == watches - OWN_LOOK
    assert set(rule_descriptions.WATCHES) == watches
    assert first_column("watches.md", "# Watches: what does not happen") >= watches


def test_each_option_of_a_rule_is_documented() -> None:
    assert first_column("rules.md", "## Rules") == set(Rule.model_fields)


@pytest.mark.parametrize("option", sorted(set(Rule.model_fields) - {"name"}))
def test_each_option_of_a_rule_shows_on_the_page_of_settings(option: str) -> None:
    plain = Rule(name="one")
    other = Rule.model_validate({"name": "one", option: OPTIONS[option]})
    assert rule_descriptions.rule(other) != rule_descriptions.rule(plain)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: str(path.stem))
def test_a_failure_is_marked_as_one_and_its_end_too(path: Path) -> None:
    told = json.loads(path.read_text())["event"]
    event = parse_event(
        told | {"id": told["id"] or "nudge:1", "time": told["time"] or "2026-11-22T10:00:00Z"}
    )
    signal = signal_of(event)
    if signal is not None:
        assert mark_of(event.type) == (BAD if signal.meaning is Meaning.FAILURE else GOOD)


def test_each_event_type_is_documented() -> None:
    page = (DOCS / "events.md").read_text()
    for name in DATA:
        family, _, last = name.rpartition(".")
        grouped = rf"{re.escape(family)}\.{{[^}}]*\b{last}\b[^}}]*}}"
        assert name in page or re.search(grouped, page), name


CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
PLACES = (
    REPOSITORY,
    REPOSITORY / "tests" / "unit",
    REPOSITORY / "monitor",
    REPOSITORY / "monitor" / "notifications",
)


def steps() -> list[str]:
    """Each step of each checklist."""
    _, _, lists = CONTRIBUTING.partition("\n## Checklists\n")
    return re.split(r"^\d+\. |^#", lists.partition("\n## ")[0], flags=re.MULTILINE)[1:]


def texts_of(step: str) -> str:
    """The texts of the files that a step names, a folder's among them."""
    found = [Path(__file__)]
    folders = [*PLACES, *(REPOSITORY / name for name in re.findall(r"`([\w/]+/)`", step))]
    for name in re.findall(r"`([\w/]+\.(?:py|md))`", step):
        known = [folder / name for folder in folders if (folder / name).is_file()]
        assert known, f"{name} is in none of {folders}"
        found += known
    for name in re.findall(r"`([\w/]+/)`", step):
        assert [place for place in PLACES if (place / name).is_dir()], name
        found += (REPOSITORY / name).rglob("*.py")
    return "\n".join(path.read_text() for path in found)


@pytest.mark.parametrize("step", steps(), ids=lambda step: str(step[:40]))
def test_each_step_of_the_checklists_names_what_is_there(step: str) -> None:
    texts = texts_of(step)
    for name in re.findall(r"`(\w+)`", step):
        assert re.search(rf"\b{name}\b", texts), name


def test_the_tree_is_the_same_on_both_pages_and_names_every_package() -> None:
    tree = re.compile(r"\| package \| what it does \|\n(?:\|.*\n)+")
    (here,) = tree.findall(CONTRIBUTING)
    assert tree.findall((DOCS / "architecture.md").read_text()) == [here]
    packages = {path.parent.name for path in (REPOSITORY / "monitor").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}/" not in here} == set()
