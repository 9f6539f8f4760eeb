"""Who hears what with no file at all."""

from typing import Any

import pytest

from monitor.events.event import parse_event
from monitor.notifications.outbox.records import NotificationKind
from monitor.rules.loader import default_config
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Config
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName, Target
from monitor.rules.validation import KINDS
from tests.sample import asset_event, event, moment, run_event, task_event

DEFAULT = Rules(default_config(["ops@example.com", "me@example.com"], ["Airflow_Lab2", "ml_*"]))


def taking(rules: Rules, raw: dict[str, Any], *tags: str) -> list[str]:
    return [rule.name for rule in rules.find_matching(MatchSubject(parse_event(raw), tags))]


@pytest.mark.parametrize(
    ("raw", "tags", "names"),
    [
        (run_event("failed"), (), ["failures"]),
        (run_event("success"), (), ["failures"]),
        (run_event("running"), (), []),
        (run_event("success", "Airflow_Lab2"), (), ["failures", "successes"]),
        (run_event("success", "ml_train"), (), ["failures", "successes"]),
        (run_event("success"), ("notify:success",), ["failures", "successes"]),
        (run_event("failed", "Airflow_Lab2"), ("notify:success",), ["failures"]),
        (task_event("failed"), (), []),
        (asset_event(1), (), []),
    ],
)
def test_which_rules_take_what(raw: dict[str, Any], tags: tuple[str, ...], names: list[str]) -> None:
    assert taking(DEFAULT, raw, *tags) == names


def test_import_errors() -> None:
    data = {"filename": "etl.py", "bundle_name": None, "stacktrace": "x", "error_id": "import_error:1"}
    broken = event("airflow.dag.import_error", "import_error:1", "etl.py", moment(), data)
    mended = event("airflow.dag.import_error_mended", "import_error:1:mended", "etl.py", moment(), data)
    assert taking(DEFAULT, broken) == taking(DEFAULT, mended) == ["import-errors"]


def test_what_each_tells() -> None:
    assert {rule.name: rule.notify_on for rule in DEFAULT.config.rules} == {
        "failures": ("first_failure", "recovered"),
        "successes": ("success",),
        "import-errors": ("first_failure", "recovered"),
        "watches": ("first_failure", "recovered", "notice"),
    }
    assert DEFAULT.asks("windsock.run.missing")


def test_everybody_who_is_named_is_told_and_whom_the_dag_names_too() -> None:
    facts = MatchSubject(parse_event(run_event("failed")), ("notify:dag@example.com",), ("airflow",))
    told = [Target(ChannelName.EMAIL, f"{name}@example.com") for name in ("ops", "me", "dag")]
    assert all(DEFAULT.targets(rule, facts) == told for rule in DEFAULT.config.rules)


def test_with_nobody_named_and_no_success_asked_for_tags_still_ask() -> None:
    rules = Rules(default_config([], []))
    assert taking(rules, run_event("success", "Airflow_Lab2")) == ["failures"]
    assert taking(rules, run_event("success"), "notify:success") == ["failures", "successes"]
    assert rules.targets(rules.config.rules[0], MatchSubject(parse_event(run_event("failed")))) == []


def test_the_default_rules_are_such_as_a_file_may_hold() -> None:
    config = DEFAULT.config
    assert Config.model_validate(config.model_dump(mode="json", exclude_unset=True)) == config


def test_the_kinds_that_a_template_may_be_given_for_are_those_that_are_told() -> None:
    assert {kind.value for kind in NotificationKind} == KINDS
