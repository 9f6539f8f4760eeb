"""The rules while their file changes: read anew, or kept with a reason."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from monitor.rules.loader import default_config, load_config
from monitor.rules.model import Config
from monitor.rules.reload import LiveRules
from monitor.rules.yaml_source import RulesError

NOW = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)
DEFAULTS = default_config(["ops@example.com"], [])


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "windsock.yaml"


def load(path: Path) -> Config:
    return load_config(path, {}, DEFAULTS)


def live(path: Path | None, clock: Callable[[], datetime], is_named: bool = False) -> LiveRules:
    return LiveRules(path, load, DEFAULTS, clock, is_named)


def write(file: Path, *names: str) -> None:
    file.write_text("rules:\n" + "".join(f"- {{name: {name}, to: a@b.c}}\n" for name in names))


def names(rules: LiveRules) -> list[str]:
    return [rule.name for rule in rules.current.config.rules]


def look_twice(rules: LiveRules) -> bool:
    assert not rules.look(), "a file was read before it had come to rest"
    return rules.look()


def test_a_changed_file_is_read_anew(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    before = rules.current
    assert not rules.look()
    clock.now += timedelta(minutes=1)
    write(file, "first", "second")

    assert look_twice(rules)

    assert names(rules) == ["first", "second"]
    assert [rule.name for rule in before.config.rules] == ["first"], "who holds the old rules keeps them"
    assert rules.read_at == NOW + timedelta(minutes=1)
    assert not rules.look()


def test_a_file_that_is_still_being_written_is_left_alone(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    write(file, "second")
    assert not rules.look()
    write(file, "second", "third")
    assert look_twice(rules)
    assert names(rules) == ["second", "third"]


def test_a_file_of_the_same_size_and_time_is_known_by_its_inode(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    stamp = file.stat().st_mtime_ns
    other = file.with_suffix(".new")
    write(other, "other")
    os.utime(other, ns=(stamp, stamp))
    other.replace(file)
    assert look_twice(rules)
    assert names(rules) == ["other"]


def test_a_broken_file_keeps_the_last_good_one_and_says_so_once(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, "first")
    rules = live(file, clock)
    with caplog.at_level(logging.WARNING):
        file.write_text("rules:\n- name: a\n  tel: x\n")
        assert not look_twice(rules)
        assert names(rules) == ["first"]
        assert rules.problem is not None
        assert rules.problem.mistakes[0].line == 3
        file.touch()
        look_twice(rules)
    told = [record for record in caplog.records if "tel" in record.getMessage()]
    assert len(told) == 1
    assert "windsock.yaml:3: rules[0].tel" in told[0].getMessage()
    assert NOW.isoformat() in told[0].getMessage()


def test_a_mended_file_holds_again(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    file.write_text("rules: 5")
    look_twice(rules)
    write(file, "second")
    assert look_twice(rules)
    assert rules.problem is None
    assert names(rules) == ["second"]


def test_a_broken_file_that_goes_back_to_what_it_was_is_no_problem(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    file.write_text("rules: 5")
    look_twice(rules)
    write(file, "first")
    assert not look_twice(rules), "the same rules hold as before"
    assert rules.problem is None


def test_a_file_that_appears_is_read_and_one_that_is_taken_away_brings_the_defaults_back(
    file: Path, clock: Clock
) -> None:
    rules = live(file, clock)
    assert rules.current.config == DEFAULTS
    write(file, "first")
    assert look_twice(rules)
    assert names(rules) == ["first"]
    file.unlink()
    assert look_twice(rules)
    assert rules.current.config == DEFAULTS
    assert rules.problem is None


def test_a_named_file_that_disappears_is_missed_and_what_it_said_holds(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock, is_named=True)
    file.unlink()
    assert not look_twice(rules)
    assert names(rules) == ["first"]
    assert "No such file" in str(rules.problem)
    write(file, "second")
    assert look_twice(rules)
    assert rules.problem is None


def test_at_the_start_a_named_file_must_be_there_and_any_file_must_be_right(file: Path, clock: Clock) -> None:
    with pytest.raises(RulesError, match="No such file"):
        live(file, clock, is_named=True)
    file.write_text("rules: 5")
    with pytest.raises(RulesError, match="must be a list"):
        live(file, clock)


def test_a_link_that_is_switched_as_kubernetes_does(tmp_path: Path, file: Path, clock: Clock) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "windsock.yaml", name)
    data = tmp_path / "..data"
    data.symlink_to(tmp_path / "one")
    file.symlink_to(data / "windsock.yaml")
    rules = live(file, clock, is_named=True)
    other = tmp_path / "..new"
    other.symlink_to(tmp_path / "two")
    other.replace(data)
    assert look_twice(rules)
    assert names(rules) == ["two"]


def test_no_file_at_all(clock: Clock) -> None:
    rules = live(None, clock)
    assert not rules.look()
    assert rules.current.config == DEFAULTS


def test_it_looks_until_it_is_cancelled(file: Path, clock: Clock) -> None:
    write(file, "first")
    rules = live(file, clock)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            write(file, "second")
        if names(rules) == ["second"]:
            raise asyncio.CancelledError

    async def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await rules.run(pause)

    asyncio.run(run())
    assert names(rules) == ["second"]
    assert pauses == [pauses[0]] * 3
