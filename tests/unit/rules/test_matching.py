"""Which events a match takes, field by field, and what is said where it does not."""

import re
from fnmatch import translate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.events.event import parse_event
from monitor.rules.field_types import MAX_GLOB, MAX_SEARCHED, matches, searched
from monitor.rules.matching import MatchSubject, mismatch
from monitor.rules.model import Config, Match, Rule
from monitor.rules.ruleset import Rules
from monitor.web.query_params import EventFilterParams
from tests.sample import asset_event, event, moment, run_event, task_event


def facts(raw: dict[str, Any], tags: tuple[str, ...] = (), owners: tuple[str, ...] = ()) -> MatchSubject:
    return MatchSubject(parse_event(raw), tags, owners)


def import_error() -> dict[str, Any]:
    data = {"filename": "dags/etl.py", "bundle_name": None, "stacktrace": "SyntaxError"}
    return event("airflow.dag.import_error", "import_error:1", "dags/etl.py", moment(), data)


RUN = facts(run_event("failed"), ("tier-1", "notify:ml"), ("ann", "bob@example.com"))
TASK = facts(task_event("failed", try_number=2))
ASSET = facts(asset_event(1))
ERROR = facts(import_error())


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        ({}, [RUN, TASK, ASSET, ERROR], []),
        ({"type": "airflow.dag_run.failed"}, [RUN], [TASK, ASSET, ERROR]),
        ({"type": "airflow.*.failed"}, [RUN, TASK], [ASSET, ERROR]),
        ({"type": ["airflow.asset.*", "airflow.dag.*"]}, [ASSET, ERROR], [RUN, TASK]),
        ({"deployment": "local"}, [RUN, TASK, ASSET, ERROR], []),
        ({"deployment": "l?cal"}, [RUN], []),
        ({"deployment": ["prod", "loc"]}, [], [RUN, ERROR]),
        ({"dag_id": "etl"}, [RUN, TASK, ASSET], [ERROR]),
        ({"dag_id": "e*"}, [RUN, TASK, ASSET], [ERROR]),
        ({"dag_id": "*"}, [RUN, ERROR], []),
        ({"dag_id": "ETL"}, [], [RUN]),
        ({"task_id": "load"}, [TASK, ASSET], [RUN, ERROR]),
        ({"run_type": "manual"}, [RUN], [TASK, ASSET, ERROR]),
        ({"run_type": ["scheduled", "backfill"]}, [], [RUN]),
        ({"asset": "model.pkl"}, [ASSET], [RUN, TASK, ERROR]),
        ({"asset": "file:///*.pkl"}, [ASSET], [RUN]),
        ({"tags": "tier-?"}, [RUN], [TASK, ERROR]),
        ({"tags": ["tier-2", "notify:*"]}, [RUN], [TASK]),
        ({"tags": "tier"}, [], [RUN]),
        ({"owners": "*@example.com"}, [RUN], [TASK]),
        ({"owners": "ann"}, [RUN], [TASK]),
        ({"attempt": 2}, [TASK], [RUN, ERROR]),
        ({"attempt": [1, 3]}, [], [TASK]),
        ({"type": "*.failed", "dag_id": "etl", "tags": "tier-1"}, [RUN], [TASK]),
        ({"any_of": [{"tags": "tier-1"}, {"task_id": "load"}]}, [RUN, TASK, ASSET], [ERROR]),
        ({"type": "*.failed", "any_of": [{"attempt": 2}]}, [TASK], [RUN, ASSET]),
        ({"none_of": [{"tags": "tier-1"}]}, [TASK, ASSET, ERROR], [RUN]),
        ({"none_of": [{"tags": "tier-1", "owners": "carl"}]}, [RUN], []),
        ({"any_of": [{"any_of": [{"attempt": 2}]}]}, [TASK], [RUN]),
    ],
)
def test_each_field_takes_what_it_names(
    match: dict[str, Any], taken: list[MatchSubject], left: list[MatchSubject]
) -> None:
    made = Match.model_validate(match)
    assert [mismatch(made, one) for one in taken] == [None] * len(taken)
    assert all(mismatch(made, one) for one in left)


@pytest.mark.parametrize(
    ("match", "of", "reason"),
    [
        ({"dag_id": ["train", "etl_*"]}, RUN, "dag_id: 'etl' is not 'train' or 'etl_*'"),
        ({"dag_id": "etl"}, ERROR, "dag_id: the event has none, and 'etl' is wanted"),
        ({"tags": "tier-2"}, RUN, "tags: 'tier-1' or 'notify:ml' is not 'tier-2'"),
        ({"attempt": 1}, TASK, "attempt: '2' is not '1'"),
        ({"attempt": 1}, RUN, "attempt: the event has none, and '1' is wanted"),
        ({"dag_id": list("abcde")}, RUN, "dag_id: 'etl' is not 'a' or 'b' or 'c' or 2 more"),
        (
            {"any_of": [{"attempt": 1}, {"dag_id": "x"}]},
            TASK,
            "any_of: attempt: '2' is not '1'; dag_id: 'etl' is not 'x'",
        ),
        (
            {"none_of": [{"dag_id": "x"}, {"dag_id": "etl"}]},
            TASK,
            "none_of: the event matches number 2 of them",
        ),
    ],
)
def test_the_reason_names_the_field_and_what_is_there(
    match: dict[str, Any], of: MatchSubject, reason: str
) -> None:
    assert mismatch(Match.model_validate(match), of) == reason


def test_a_reason_is_short_whatever_the_names() -> None:
    long = facts(run_event("failed", dag_id="d" * 250))
    reason = mismatch(Match(dag_id=tuple("x" * 1000 for _ in range(9))), long)
    assert reason is not None
    assert len(reason) < 500


def names(*matches: dict[str, Any]) -> Rules:
    rules = [Rule.model_validate({"name": f"r{number}", **one}) for number, one in enumerate(matches)]
    return Rules(Config(rules=tuple(rules)))


def test_every_rule_that_matches_takes_the_event_in_order() -> None:
    rules = names({}, {"match": {"dag_id": "x"}}, {"match": {"dag_id": "etl"}})
    assert [rule.name for rule in rules.find_matching(RUN)] == ["r0", "r2"]


def test_the_last_one_that_takes_it_ends_the_asking() -> None:
    rules = names({"match": {"dag_id": "x"}, "last": True}, {"last": True}, {"match": {"dag_id": "x"}}, {})
    assert [rule.name for rule in rules.find_matching(RUN)] == ["r1"]
    assert [against for _, against in rules.explain(RUN)] == [
        "dag_id: 'etl' is not 'x'",
        None,
        "not asked: rule 'r1' above takes the event and is the last",
        "not asked: rule 'r1' above takes the event and is the last",
    ]


def test_types_that_no_rule_asks_for_are_known_beforehand() -> None:
    rules = names({"match": {"type": "airflow.dag_run.*"}}, {"match": {"type": "airflow.dag.paused"}})
    asked = ["airflow.dag_run.failed", "airflow.dag.paused", "airflow.dag.unpaused", "airflow.asset.updated"]
    assert [rules.asks(one) for one in asked * 2] == [True, True, False, False] * 2
    assert not Rules(Config()).asks("airflow.dag_run.failed")


LETTERS = st.text(alphabet="ab[]!.-\n", max_size=8)
GLOBS = st.text(alphabet="ab[]!.-*?\n", max_size=8)


def oracle(glob: str, name: str) -> bool:
    """The meaning of a glob, letter by letter."""
    if not glob:
        return not name
    if glob[0] == "*":
        return oracle(glob[1:], name) or (bool(name) and oracle(glob, name[1:]))
    return bool(name) and glob[0] in ("?", name[0]) and oracle(glob[1:], name[1:])


@given(GLOBS, LETTERS)
def test_globs_know_two_signs(glob: str, name: str) -> None:
    assert matches(glob, name) == oracle(glob, name)


@given(st.text(max_size=30))
def test_a_name_without_signs_matches_itself_only(name: str) -> None:
    plain = re.sub(r"[*?]", "", name)
    assert matches(plain, plain)
    assert not matches(plain, plain + "x")


def test_no_glob_takes_exponential_time() -> None:
    assert not matches("*a" * 200 + "b", "a" * 250)


_SHORT = st.text("ab?*[\n", max_size=9)


@given(glob=_SHORT, name=st.text("ab[\n", max_size=12))
def test_a_glob_is_what_fnmatch_makes_of_it_without_sets(glob: str, name: str) -> None:
    assert matches(glob, name) == bool(re.match(translate(glob.replace("[", "[[]")), name))


@pytest.mark.parametrize(
    ("glob", "steps"),
    [
        ("*", 0),
        ("*" + "?" * 740 + "b", 0),  # it is at the end: there is one place to look
        ("*" + "a" * 740 + "b*", 1),
        ("a?b", 0),
        ("*a?b*", 3),
        ("*?a?*", 1),  # around the letters it says how many others there are
        ("*a" * 700 + "*", 700),
    ],
)
def test_the_steps_of_a_glob_are_known(glob: str, steps: int) -> None:
    assert searched([glob]) == steps
    assert len(glob) <= MAX_GLOB


def test_a_filter_that_takes_many_steps_is_refused() -> None:
    dear = "*" + "a?" * (MAX_SEARCHED // 2) + "a*"
    EventFilterParams(asset=[dear])
    with pytest.raises(
        ValidationError, match=r"steps to match, more than 500: .* write fewer stars or no \?"
    ):
        EventFilterParams(asset=[dear], run_id=[dear])
